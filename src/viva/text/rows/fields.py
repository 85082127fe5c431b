"""What every format does: take text out of rows, refuse what is not text, make examples."""

import json
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

from viva.base.choice import names, variant
from viva.base.config import Config
from viva.base.errors import Notice, Refusal
from viva.text.rows.headless import headless
from viva.text.rows.row import Corpus, Row
from viva.text.talk import chat
from viva.text.tokens.characters import require_whole
from viva.text.tokens.example import Draft, Example, encode
from viva.text.tokens.fingerprint import PROBE
from viva.text.tokens.tokenizer import Tokenizer

FORMATS = "viva.text.rows.format"
MOST = 3.4e38  # what a number of 32 bits can hold


class Format(Config):
    """The base of each file's Config in `text/rows/format`.

    `told_by`: the fields, or each of several sets of them, by which rows of this format are known. `judged`: whether a
    row holds answers of which not all are to be imitated, because they were compared or judged.
    """

    told_by: ClassVar[tuple[tuple[str, ...], ...]] = ()
    judged: ClassVar[bool] = False

    def settled(self, corpus: Corpus, known: tuple[str, ...] | None = None) -> "Format":
        """This format with what it must know of all rows, such as the names of the classes; by default itself. `known`
        are those of a model that is to go on, whose order is kept where the rows have the same.
        """
        return self

    def unsettled_by(self, row: Row) -> Refusal | None:
        """Why this row alone cannot tell what must be known of all rows; None where it can."""
        try:
            self.settled(_One(row))
        except Refusal as refusal:
            return refusal
        return None

    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes of rows or words, in the order of their numbers; None where there are none."""
        return None

    def aim(self, found: Example, tokenizer: Tokenizer) -> str | None:
        """What is to be told of a document beside its text, in words; by default its class or value, None without."""
        if found.label is None:
            return None
        names = self.classes()
        return f"{found.label:g}" if names is None else names[int(found.label)]

    def texts(self) -> int | None:
        """How many texts of a row are read as one, where a model must be told to be asked alike; None elsewhere."""
        return None

    def talks(self) -> bool:
        """Whether rows are conversations, which the tokenizer's chat template lays out."""
        return False

    def tail(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The ids behind a reply that came to its end, as a document that ends with one has them."""
        return chat.tail(tokenizer) if self.talks() else ()

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


@dataclass(frozen=True)
class _One:
    """A corpus of one row."""

    row: Row

    def rows(self) -> Iterator[Row]:
        yield self.row


def told(data: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The formats that a row may be of, each with the fields that tell it. Of two, one that is told by a part of the
    other's fields is none: a text with a label is a row of `classes`.
    """
    present = {name for name, held in data.items() if held is not None}
    sets = [(kind, fields) for kind in names(FORMATS) for fields in variant(FORMATS, kind).Config.told_by]
    held = [(kind, fields) for kind, fields in sets if present.issuperset(fields)]
    return {kind: fields for kind, fields in held if not any(set(fields) < set(more) for _, more in held)}


def value(row: Row, name: str, such: Any = "...") -> Any:
    """The value of a field that must be there; `such` a one is shown where it is not."""
    if name not in row.data:
        found = f"the fields {', '.join(map(repr, row.data)) or '(none)'}"
        raise Refusal(f"{row.where} must have the field {name!r}", found, _fitting(row, name, such))
    return row.data[name]


def text(row: Row, name: str, optional: bool = False) -> str:
    """The text in a field; `optional` takes a missing or null one as ""."""
    if optional and row.data.get(name) is None:
        return ""
    found = value(row, name)
    if not isinstance(found, str):
        missing = found is None or found != found
        what = "fill in or remove that row" if missing else "write it as a string"
        fix = f"{what}: {corrected(row, name, '...' if missing else _written(found))}"
        raise Refusal(f"{row.where} must have text in the field {name!r}", repr(found)[:80], fix)
    return require_whole(found, f"the field {name!r} of {row.where}")


def number(row: Row, name: str) -> float:
    """The number in a field, which may be written as text; refused if it is none, or beyond what 32 bits hold."""
    found = value(row, name, 0.5)
    try:
        taken = float(found)
    except (TypeError, ValueError, OverflowError):
        taken = math.nan
    if isinstance(found, bool) or not abs(taken) <= MOST:
        fix = f"write one of at most {MOST:g}, or remove the row: {corrected(row, name, 0.5)}"
        raise Refusal(f"{row.where} must have a number as {name!r}", repr(found)[:80], fix)
    return taken


def require_two_answers(row: Row, chosen: str, rejected: str) -> None:
    """Refuse a row whose fields `chosen` and `rejected` hold the same answer."""
    if value(row, chosen) == value(row, rejected):
        raise one_answer(row, chosen, rejected, f"{str(row.data[chosen])[:60]!r} twice")


def one_answer(row: Row, chosen: str, rejected: str, found: str) -> Refusal:
    """The refusal of a row whose two answers are `found` to be one."""
    must = f"{row.where} must have two answers that differ in {chosen!r} and {rejected!r}"
    return Refusal(must, found, "remove the row: it prefers nothing")


def say_empty() -> None:
    """Say, in the same words each time so that it can be counted, that nothing stands where an answer is learned."""
    warnings.warn(Notice("an answer is empty or blank: that it ends is all there is to learn of it"), stacklevel=3)


def corrected(row: Row, name: str, mended: Any, instead: str | None = None) -> str:
    """The row as a JSON line with another value in a field, which takes the place of the field `instead`. Long texts
    are shortened: it is to be looked at.
    """
    data = {name if key == instead else key: held for key, held in row.data.items()}
    return json.dumps(_short({**data, name: mended}), ensure_ascii=False, default=str)


def _short(held: Any, most: int = 40) -> Any:
    if isinstance(held, str):
        return held if len(held) <= most else f"{held[:most]}..."
    if isinstance(held, dict):
        return {key: _short(below) for key, below in held.items()}
    return [_short(below) for below in held] if isinstance(held, list) else held


def _written(held: Any) -> str:
    """A value as the text that was probably meant."""
    lines = held if isinstance(held, list) and all(isinstance(line, str) for line in held) else None
    return str(held) if lines is None else "\n".join(lines)


def frame(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids before and after a text that is read whole (text/tokens/frame.py); refused where a tokenizer that viva
    trains with has none.
    """
    before, after = tokenizer.around_whole
    if tokenizer.by_use and not before + after:
        must = "a tokenizer must name an end token, or `sep_token`, to frame a text"
        raise Refusal(must, "none", 'set "eos_token" in tokenizer_config.json')
    return before, after


def frame_of_two(tokenizer: Tokenizer) -> tuple[list[int], list[int], list[int]]:
    """The ids before, between and after two texts that are read as one, such as RoBERTa's <s> a </s></s> b </s>."""
    frame(tokenizer)  # refused
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


def _fitting(row: Row, name: str, such: Any) -> str:
    """What to do about a row without the field: what else it may be, and the row as it should be."""
    if advice := headless(row):
        return advice
    wanted, written = name.strip().casefold(), {key.strip().casefold(): key for key in row.data if isinstance(key, str)}
    alike = [written[found] for found in get_close_matches(wanted, written, n=1, cutoff=0.6)]
    right = corrected(row, name, row.data[alike[0]] if alike else such, instead=alike[0] if alike else None)
    correct = f"or correct the row: {right}"
    kinds = [kind for kind, fields in told(row.data).items() if name not in fields]
    if kinds and wanted not in written:
        return f"use the format {' or '.join(repr(kind) for kind in kinds)}, {correct}"
    meant = written.get(wanted, next((key for key, held in row.data.items() if isinstance(held, str)), None))
    named = "add the field" if meant is None else f"name another field in the recipe (for example {meant!r})"
    return f"{named}, {correct}"
