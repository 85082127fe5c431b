"""A folder is a registry: the name of a file in it is the key by which a recipe asks for it.

A variant is a module that holds a frozen class named `Config`. A new file is a new choice; no list is kept.
"""

from collections.abc import Iterable
from functools import cache, partial
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from viva.base.config import Config, kind
from viva.base.errors import Refusal, nearest


@cache
def names(package: str) -> list[str]:
    """The variants in the folder of `package`, sorted: every module without a leading underscore."""
    found = iter_modules(import_module(package).__path__)
    return sorted(module.name for module in found if not (module.ispkg or module.name.startswith("_")))


def variant(package: str, name: str) -> ModuleType:
    """The module `package.name`; a name that has no file is refused with the nearest and the whole list."""
    known = names(package)
    if name not in known:
        folder = package.rsplit(".", 1)[-1]
        raise Refusal(f"{folder} must be a known kind", repr(name), nearest(str(name), known))
    return import_module(f"{package}.{name}")


def tagged(config: Config | None) -> dict[str, Any] | None:
    """A variant's config as plain data, its kind first: what a recipe would say."""
    return None if config is None else {"kind": kind(config), **config.model_dump(mode="json")}


def _resolve(package: str, value: Any, usual: str | None = None) -> Any:
    """Turn `rope` or `{kind: rope, theta: 1e4}` into `rope.Config(theta=1e4)`; configs pass through."""
    if value is None or isinstance(value, Config):
        return value
    fields = {"kind": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else {}
    if usual is not None and isinstance(value, dict):
        fields = {"kind": usual, **fields}
    if "kind" not in fields:
        raise PydanticCustomError(
            "no_kind",
            "must be a name or a section with a `kind`, but found {found}; {fix}",
            {"found": repr(value), "fix": nearest("", names(package))},
        )
    try:
        module = variant(package, fields.pop("kind"))
    except Refusal as refusal:
        text = f"must be a known kind; {refusal.fix}"
        raise PydanticCustomError("unknown_kind", "{text}", {"text": text}) from None
    return module.Config.model_validate(fields)


def folder_of(metadata: Iterable[Any]) -> str | None:
    """The folder whose variants a type chooses from, by its annotations; None where it is no Choice."""
    resolvers = (getattr(each, "func", None) for each in metadata)
    return next((by.args[0] for by in resolvers if isinstance(by, partial) and by.func is _resolve), None)


def Choice(package: str, usual: str | None = None) -> Any:  # noqa: N802 - reads as a type where it is used
    """The type of a config field whose value is one of the variants in the folder of `package`; a section that names no
    kind is of the `usual` one, if there is.
    """
    return Annotated[Config, BeforeValidator(partial(_resolve, package, usual=usual)), PlainSerializer(tagged)]
