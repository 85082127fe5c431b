"""A text, or two, with a class or a value."""

from collections.abc import Iterable
from typing import ClassVar

from viva.text.rows.fields import Format, frame, frame_of_two, number, text, value
from viva.text.rows.format._names import Names, name, numbered, ordered
from viva.text.rows.row import Corpus, Row
from viva.text.tokens.example import Example
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """text, pair, label: the names of the fields; without `pair` there is one text. `labels` names the classes in the
    order of their numbers; left out, they are those of the data, in the order of the model that goes on if it has the
    same, else in their own. With `values` the label is a number to be predicted as it is.
    """

    told_by: ClassVar = (("text", "label"),)

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

    def texts(self) -> int:
        return 1 if self.pair is None else 2

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        around = frame(tokenizer) if self.pair is None else frame_of_two(tokenizer)
        return [self._example(row, tokenizer, *around) for row in rows]

    def _example(self, row: Row, tokenizer: Tokenizer, before: list[int], *behind: list[int]) -> Example | None:
        """`behind` is what stands behind each text."""
        first = text(row, self.text)
        if not first:
            return None
        ids, cut = [*before, *tokenizer.encode(first), *behind[0]], 0
        if self.pair is not None:
            cut = len(ids)
            ids = [*ids, *tokenizer.encode(text(row, self.pair)), *behind[1]]
        return Example(ids, [False] * len(ids), 0, cut=cut, label=self._number(row))

    def _number(self, row: Row) -> float:
        if self.values:
            return number(row, self.label)
        label = value(row, self.label, (self.labels or ("...",))[0])
        return float(numbered(label, self.labels, row, self.label))
