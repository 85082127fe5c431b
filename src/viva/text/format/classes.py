"""A text, or two, with a class or a value."""

import math
from collections.abc import Iterable
from typing import Any

from viva.base.errors import Refusal
from viva.text.example import Example
from viva.text.fields import Format, frame, text, value
from viva.text.format._names import Names, name, number, ordered
from viva.text.row import Corpus, Row
from viva.text.tokenizer import Tokenizer

MOST = 3.4e38  # what a number of 32 bits can hold


class Config(Format):
    """text, pair, label: the names of the fields; without `pair` there is one text. `labels` names the classes in the
    order of their numbers; left out, they are those of the data, in the order of the model that goes on if it has the
    same, else in their own. With `values` the label is a number to be predicted as it is.
    """

    text: str = "text"
    pair: str | None = None
    label: str = "label"
    labels: Names | None = None
    values: bool = False

    def settled(self, corpus: Corpus, known: tuple[str, ...] | None = None) -> "Config":
        if self.labels is not None or self.values:
            return self
        found = {name(value(row, self.label), row, self.label) for row in corpus.rows()}
        return self.model_copy(update={"labels": ordered(found, known)})

    def classes(self) -> tuple[str, ...] | None:
        return self.labels

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        before, after = frame(tokenizer)
        return [self._example(row, tokenizer, before, after) for row in rows]

    def _example(self, row: Row, tokenizer: Tokenizer, before: list[int], after: list[int]) -> Example | None:
        first = text(row, self.text)
        if not first:
            return None
        ids, cut = [*before, *tokenizer.encode(first), *after], 0
        if self.pair is not None:
            cut = len(ids)
            ids = [*ids, *tokenizer.encode(text(row, self.pair)), *after]
        return Example(ids, [False] * len(ids), 0, cut=cut, label=self._number(row))

    def _number(self, row: Row) -> float:
        found = value(row, self.label)
        return self._value(found, row) if self.values else float(number(found, self.labels, row, self.label))

    def _value(self, found: Any, row: Row) -> float:
        try:
            taken = float(found)
        except (TypeError, ValueError, OverflowError):
            taken = math.nan
        if isinstance(found, bool) or not abs(taken) <= MOST:
            fix = f"write one of at most {MOST:g}, or remove the row"
            raise Refusal(f"{row.where} must have a number as {self.label!r}", repr(found)[:80], fix)
        return taken
