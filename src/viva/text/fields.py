"""What every format does: take text out of rows, refuse what is not text, make examples."""

import math
from collections.abc import Iterable
from typing import Any

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.text.characters import require_whole
from viva.text.example import Draft, Example, encode
from viva.text.fingerprint import PROBE
from viva.text.frame import around
from viva.text.row import Corpus, Row
from viva.text.tokenizer import Tokenizer

# The field by which the rows of each format are known, to name the one that would fit.
TELLING = {
    "text": "text",
    "messages": "messages",
    "prompt": "completion",
    "alpaca": "instruction",
    "parallel": "target",
    "classes": "label",
    "pairs": "sentence",
    "tags": "tags",
    "questions": "answers",
}

MOST = 3.4e38  # what a number of 32 bits can hold


class Format(Config):
    """The base of each file's Config in `text/format`."""

    def settled(self, corpus: Corpus, known: tuple[str, ...] | None = None) -> "Format":
        """This format with what it must know of all rows, such as the names of the classes; by default itself. `known`
        are those of a model that is to go on, whose order is kept where the rows have the same.
        """
        return self

    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes of rows or words, in the order of their numbers; None where there are none."""
        return None

    def texts(self) -> int | None:
        """How many texts of a row are read as one, where a model must be told to be asked alike; None elsewhere."""
        return None

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        """The marked text of a row and what is learned of it; None for a row without any text."""
        raise NotImplementedError

    def example(self, row: Row, tokenizer: Tokenizer) -> Example | None:
        """One row as ids and mask; None for a row without any text."""
        return self.examples([row], tokenizer)[0]

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        """`example` of each row, encoded together."""
        drafts = [self.draft(row, tokenizer) for row in rows]
        made = iter(encode(tokenizer, [draft for draft in drafts if draft is not None]))
        return [None if draft is None else next(made) for draft in drafts]


def value(row: Row, name: str) -> Any:
    """The value of a field that must be there."""
    if name not in row.data:
        found = f"the fields {', '.join(map(repr, row.data)) or '(none)'}"
        raise Refusal(f"{row.where} must have the field {name!r}", found, _fitting(row, name))
    return row.data[name]


def text(row: Row, name: str, optional: bool = False) -> str:
    """The text in a field; `optional` takes a missing or null one as ""."""
    if optional and row.data.get(name) is None:
        return ""
    found = value(row, name)
    if not isinstance(found, str):
        fix = "fill in or remove that row" if found is None or found != found else "write it as a string"
        raise Refusal(f"{row.where} must have text in the field {name!r}", repr(found)[:80], fix)
    return require_whole(found, f"the field {name!r} of {row.where}")


def number(row: Row, name: str) -> float:
    """The number in a field, which may be written as text; refused if it is none, or beyond what 32 bits hold."""
    found = value(row, name)
    try:
        taken = float(found)
    except (TypeError, ValueError, OverflowError):
        taken = math.nan
    if isinstance(found, bool) or not abs(taken) <= MOST:
        fix = f"write one of at most {MOST:g}, or remove the row"
        raise Refusal(f"{row.where} must have a number as {name!r}", repr(found)[:80], fix)
    return taken


def frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids before and after a text that is read whole (text/frame.py); refused where there are none."""
    before, after = around(tokenizer.framed.core)
    if not before + after:
        must = "a tokenizer must name an end token, or `sep_token`, to frame a text"
        raise Refusal(must, "none", 'set "eos_token" in tokenizer_config.json')
    return before, after


def frame_of_two(tokenizer: Tokenizer) -> tuple[list[int], list[int], list[int]]:
    """The ids before, between and after two texts that are read as one, such as RoBERTa's <s> a </s></s> b </s>."""
    frame(tokenizer)  # refused where there are none
    [probe] = tokenizer.encode_framed([(PROBE, PROBE)])
    first, second = ([place for place, of in enumerate(probe.sequence_ids) if of == text] for text in (0, 1))
    return probe.ids[: first[0]], probe.ids[first[-1] + 1 : second[0]], probe.ids[second[-1] + 1 :]


def ends(tokenizer: Tokenizer) -> tuple[str, str]:
    """The strings of the tokens that begin and end a document; "" for a beginning that the tokenizer has not. Those of
    BERT's roles serve where it names no others.
    """
    names = tokenizer.words
    end = names.get("eos_token") or names.get("sep_token")
    if end is None:
        must = "a tokenizer must name an end token, or a model never learns to stop"
        raise Refusal(must, "none", 'set "eos_token" in tokenizer_config.json')
    return names.get("bos_token") or names.get("cls_token", ""), end


def _fitting(row: Row, name: str) -> str:
    kinds = [kind for kind, telling in TELLING.items() if telling in row.data and telling != name]
    if kinds:
        return f"use the format {' or '.join(repr(kind) for kind in kinds)}, or correct the row"
    strings = [key for key, value in row.data.items() if isinstance(value, str)]
    named = f"name another field in the recipe (for example {strings[0]!r})" if strings else "add the field"
    return f"{named}, or correct the row"
