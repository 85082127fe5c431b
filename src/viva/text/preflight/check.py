"""All rows of a corpus gone through once: read by their format, and those that cannot be used passed by."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from viva.base.config import kind
from viva.base.errors import Notice, Refusal, notices
from viva.base.progress import Progress
from viva.text.preflight.tally import Tally
from viva.text.rows.fields import Format
from viva.text.rows.format import auto
from viva.text.rows.row import Corpus, Row
from viva.text.tokens.example import Example
from viva.text.tokens.tokenizer import Tokenizer

CHUNK = 64  # rows that are read together


def check(
    corpus: Corpus, form: Format, tokenizer: Tokenizer, tally: Tally, known: tuple[str, ...] | None = None
) -> Format | None:
    """Go over all rows, and tell `tally` of each; `known` as in `Format.settled`. Returns the format with what it knows
    of all rows, if they tell it.
    """
    with notices(tally.note):
        form = _settled(corpus, form, tally, known)
        for chunk in _with_progress(_chunks(corpus, tally), tally):
            rows = [found for found in chunk if isinstance(found, Row)]
            made = iter([None] * len(rows) if form is None else examples(rows, form, tokenizer))
            for found in chunk:
                if isinstance(found, Row):
                    tally.row(found, next(made), form)
                else:
                    tally.unreadable(found)
    return form


def _settled(corpus: Corpus, form: Format, tally: Tally, known: tuple[str, ...] | None) -> Format | None:
    """The format with what it must know of all rows; None where they do not tell it, which is a fault of all."""
    usable = _Usable(corpus, form)
    try:
        usable.form = form = _told(form, usable)
        tally.part.format = kind(form)
        return form.settled(usable, known)
    except Refusal as refusal:
        if not usable.unread or usable.any_read:  # else there is no other fault than those of each
            tally.refuse(usable.why or refusal)
        return None


def told(form: Format, corpus: Corpus) -> Format:
    """The format itself or, where the rows are to tell it, the one that they tell."""
    return _told(form, _Usable(corpus, form))


def _told(form: Format, usable: "_Usable") -> Format:
    return form.told(usable) if isinstance(form, auto.Config) else form


def examples(rows: list[Row], form: Format, tokenizer: Tokenizer) -> list[Example | Refusal | None]:
    """What becomes of each row: an example, nothing where it is empty, or why it cannot be used."""
    said: list[str] = []
    try:
        with notices(said.append):
            made = form.examples(rows, tokenizer)
    except Refusal as refusal:  # and what was noted of these rows is noted as they are read again
        if len(rows) == 1:
            return [refusal]
        half = len(rows) // 2
        return examples(rows[:half], form, tokenizer) + examples(rows[half:], form, tokenizer)
    for notice in said:
        warnings.warn(Notice(notice), stacklevel=2)
    return made


def _with_progress(chunks: Iterator[list], tally: Tally) -> Iterator[list]:
    with Progress(f"checking {tally.part.name}") as progress:
        for chunk in chunks:
            yield chunk
            progress.say(f"{tally.part.rows:,} rows, {tally.part.refused:,} refused")


def _chunks(corpus: Corpus, tally: Tally) -> Iterator[list[Row | Refusal]]:
    """What there is for each row, some at once, and what was passed over; a corpus that cannot be read at all is a
    fault of its own.
    """
    chunk = []
    try:
        for found in corpus.each():
            chunk.append(found)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        for said in corpus.notes():
            tally.note(said)
    except Refusal as refusal:
        tally.refuse(refusal)
    yield chunk


@dataclass
class _Usable:
    """The rows of a corpus that can be read, and of which a format can tell what it must know of all of them; `why` it
    can of none. `any_read`, `unread`: whether some rows were read, and whether some could not be.
    """

    corpus: Corpus
    form: Format
    why: Refusal | None = None
    any_read: bool = False
    unread: bool = False

    @property
    def label(self) -> str:
        return self.corpus.label

    def rows(self) -> Iterator[Row]:
        plain = type(self.form).settled in (Format.settled, auto.Config.settled)
        return self._readable() if plain else self._settling(self._readable())

    def _readable(self) -> Iterator[Row]:
        for found in self.corpus.each():
            if isinstance(found, Row):
                self.any_read = True
                yield found
            else:
                self.unread = True

    def _settling(self, rows: Iterator[Row]) -> Iterator[Row]:
        first, any_settles = None, False
        for row in rows:
            if (refusal := self.form.unsettled_by(row)) is not None:
                first = first or refusal
            else:
                any_settles = True
                yield row
        self.why = None if any_settles else first
