"""tiktoken's files: a token in base64 and its rank a line. The rank is the id, and says in which order tokens are made.

The file says neither how a text is split into words nor what the special tokens are; the name of the vocabulary does.
"""

import base64
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers

from viva.base.errors import Notice, Refusal
from viva.text.tokens.read import _byte_level, _files, _known
from viva.text.tokens.read._merges import recovered

FILES = "a .tiktoken file (or a .model file of that form)"
TOLD = ("pattern",)
LINE = re.compile(rb"([A-Za-z0-9+/]*=*) (\d+)\r?")


def find(place: Path) -> Path | None:
    file = _files.the_file(place, "*.tiktoken") or _files.the_file(place, "*.model")
    return file if file and LINE.match(_files.content(file)) else None


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    told = config.pop("pattern", None)
    known, ranks = _named(file, told), _ranks(file)
    vocab = {_byte_level.written(token): rank for token, rank in ranks.items() if token}  # Whisper's has an empty one
    merges = [(_byte_level.written(a), _byte_level.written(b)) for a, b in recovered(ranks)]
    known = replace(known, whole=True)
    if len(ranks) != known.ranks:
        text = f"{file} has {len(ranks)} ranks where the vocabulary that is named has {known.ranks}: no special tokens"
        warnings.warn(Notice(text), stacklevel=5)
        return _byte_level.core(vocab, merges, known), config
    if known.note and not told:
        warnings.warn(Notice(f"{file} {known.note}"), stacklevel=5)
    return _byte_level.core(vocab, merges, known, known.specials), known.roles | config


def _named(file: Path, told: str | None) -> _known.Known:
    """The vocabulary that the caller, or the file's name, names."""
    name = file.name.removesuffix(".gz").rpartition(".")[0]
    found = _known.told(told) if told else _known.known(name)
    if found is None:
        must = f"the name of {file.name} must tell how it splits a text"
        raise Refusal(must, repr(name), _byte_level.to_be_told(file))
    return found


def _ranks(file: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(_files.content(file).removesuffix(b"\n").split(b"\n"), 1):
        if not (found := LINE.fullmatch(line)):
            raise Refusal(f"{file}:{number} must be a token in base64 and its rank", line, "fetch it again")
        ranks[base64.b64decode(found[1])] = int(found[2])
    if missing := [byte for byte in range(256) if bytes([byte]) not in ranks]:
        raise Refusal(f"{file} must hold every byte", f"{len(missing)} missing", "fetch it again")
    return ranks
