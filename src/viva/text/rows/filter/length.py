"""Rows whose text is too short or too long."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from viva.text.rows.row import Row
from viva.text.rows.sift import Filter, Judge, Source
from viva.text.tokens.tokenizer import Tokenizer


class Config(Filter):
    """min, max: the least and the most characters of a row's text or, where `tokenizer` names the folder of one or a
    run, its tokens. A document longer than the context is another matter: train.long.
    """

    min: int | None = Field(None, ge=1)
    max: int | None = Field(None, ge=1)
    tokenizer: str | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("must have `min` or `max`")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("must have `min` of at most `max`")
        return self

    def judge(self) -> Judge:
        unit = "characters" if self.tokenizer is None else "tokens"
        measure = len if self.tokenizer is None else self._tokens()

        def out_of_bounds(row: Row) -> str | None:
            found = measure(self.text(row))
            inside = (self.min or 0) <= found and (self.max is None or found <= self.max)
            return None if inside else f"{found:,} {unit}"

        return out_of_bounds

    def digest(self, sources: Sequence[Source]) -> list:
        read_by = self.tokenizer and Tokenizer.load(self.tokenizer).fingerprint.model_dump(mode="json")
        return [super().digest(sources), read_by]

    def _tokens(self):
        tokenizer = Tokenizer.load(self.tokenizer)
        return lambda text: len(tokenizer.encode(text))
