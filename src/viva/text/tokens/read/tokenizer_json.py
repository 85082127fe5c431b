"""tokenizer.json of the `tokenizers` library, which says everything that is computed."""

from pathlib import Path
from typing import Any

import tokenizers

from viva.base.errors import Refusal
from viva.text.tokens.read import _byte_level, _files

FILES = "tokenizer.json"


def find(place: Path) -> Path | None:
    if place.is_file():
        return place if place.name.removesuffix(".gz").endswith(".json") and not _of_merges(place) else None
    return _files.the_file(place, "tokenizer.json")


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    try:
        core = tokenizers.Tokenizer.from_str(_files.text(file))
    except Refusal:
        raise
    except Exception as error:  # the library raises bare Exceptions
        raise Refusal(f"{file} must be a tokenizer.json", error, "fetch or save it again") from None
    # a class that transformers builds anew from the vocabulary; of others it takes this file's word
    return _byte_level.prefixed(core, config) if _byte_level.kind(config) else core, config


def _of_merges(file: Path) -> bool:
    """Whether it is the vocabulary of the form in read/merges.py."""
    return file.name.removesuffix(".gz").endswith(("vocab.json", "encoder.json"))
