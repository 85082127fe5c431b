"""Two texts that belong together, such as a question and the sentence that answers it."""

from collections.abc import Iterable
from typing import ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, frame, number, text
from viva.text.rows.row import Row
from viva.text.tokens.example import Example
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """first, second, value: the names of the fields; `value`, if given, says how alike the two are, from -1 to 1."""

    told_by: ClassVar = (("question", "sentence"),)

    first: str = "question"
    second: str = "sentence"
    value: str | None = None

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        before, after = frame(tokenizer)
        found: list[Example | None] = []
        for row in rows:
            texts = [text(row, name) for name in (self.first, self.second)]
            first, second = ([*before, *tokenizer.encode(part), *after] for part in texts)
            mask = [False] * (len(first) + len(second))
            found.append(Example(first + second, mask, 0, len(first), self._alike(row)) if all(texts) else None)
        return found

    def _alike(self, row: Row) -> float | None:
        if self.value is None:
            return None
        if not -1 <= (found := number(row, self.value)) <= 1:
            fix = "divide the values by the largest there can be"
            raise Refusal(f"{row.where} must have a number from -1 to 1 as {self.value!r}, as cosines are", found, fix)
        return found
