"""viva: the whole life of a large model in one Python package."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viva import train
    from viva.api import LanguageModel, load, load_tokenizer
    from viva.base.errors import Notice, Refusal
    from viva.serve.engine import Engine

__all__ = ["Engine", "LanguageModel", "Notice", "Refusal", "load", "load_tokenizer", "train"]

WHERE = {
    "Engine": "viva.serve.engine",
    "LanguageModel": "viva.api",
    "load": "viva.api",
    "load_tokenizer": "viva.api",
    "Notice": "viva.base.errors",
    "Refusal": "viva.base.errors",
}


def __getattr__(name: str) -> Any:
    """Imported when first asked for, so that `import viva` does not wait for torch."""
    if name == "train":
        return import_module("viva.train")  # a package that can be called
    if name not in WHERE:
        raise AttributeError(f"module 'viva' has no attribute {name!r}")
    return getattr(import_module(WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
