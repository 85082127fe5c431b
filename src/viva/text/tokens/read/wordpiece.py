"""vocab.txt: the WordPiece vocabulary of BERT and its kin, one token a line, whose number is the id.

The file does not say whether texts are brought to lower case; tokenizer_config.json does (`do_lower_case`), or else the
vocabulary itself shows it, and a Notice says what was taken.
"""

import warnings
from pathlib import Path
from typing import Any

import tokenizers

from viva.base.errors import Notice, Refusal
from viva.text.tokens.read import _files, _wordpiece

FILES = "vocab.txt"
TOLD = ("do_lower_case",)


def find(place: Path) -> Path | None:
    return _files.the_file(place, "*vocab.txt" if place.is_file() else "vocab.txt")


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    vocab = _vocabulary(file)
    lower = config.get("do_lower_case")
    if lower is None:
        lower = _shown(file, vocab)
    elif not isinstance(lower, bool):
        raise Refusal(f"do_lower_case of {file} must be true or false", repr(lower), "write one of them")
    options = {key: config[key] for key in ("strip_accents", "tokenize_chinese_chars") if key in config}
    core, roles = _wordpiece.core(vocab, lower, **options)
    return core, roles | config | {"do_lower_case": lower}


def _vocabulary(file: Path) -> dict[str, int]:
    tokens = _files.lines(file)
    vocab = {token: number for number, token in enumerate(tokens)}
    if len(vocab) < len(tokens):
        twice = next(token for number, token in enumerate(tokens) if vocab[token] != number)
        raise Refusal(f"{file} must hold each token once", f"{twice!r} twice", "fetch it again")
    return vocab


def _shown(file: Path, vocab: dict[str, int]) -> bool:
    """Whether a vocabulary was made of texts in lower case: whether it has no capital outside of brackets."""
    capitals = [token for token in vocab if token.lower() != token and not token.startswith(("[", "<"))]
    lower, seen = not capitals, f"such as {capitals[0]!r}" if capitals else "none"
    case = "lower case" if lower else "their own case"
    fix = f"do_lower_case={not lower}"
    warnings.warn(
        Notice(f"{file} has tokens with capitals: {seen}; texts are read in {case} (else tell {fix})"), stacklevel=5
    )
    return lower
