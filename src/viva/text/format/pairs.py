"""Two texts that belong together, such as a question and the sentence that answers it."""

from collections.abc import Iterable

from viva.text.example import Example
from viva.text.fields import Format, frame, text
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer


class Config(Format):
    """first, second: the names of the fields."""

    first: str = "question"
    second: str = "sentence"

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        before, after = frame(tokenizer)
        found: list[Example | None] = []
        for row in rows:
            texts = [text(row, name) for name in (self.first, self.second)]
            first, second = ([*before, *tokenizer.encode(part), *after] for part in texts)
            mask = [False] * (len(first) + len(second))
            found.append(Example(first + second, mask, 0, cut=len(first)) if all(texts) else None)
        return found
