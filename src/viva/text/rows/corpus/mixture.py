"""Several corpora at once, each with rows of its own format and a share of what is read."""

import hashlib
from collections.abc import Iterator
from typing import Self

from pydantic import Field, PositiveFloat, model_validator

from viva.base.choice import Choice
from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.text.rows.row import Corpus, Row


class Part(BaseConfig):
    """data: where its rows come from; format: how they are read, if not as the recipe says; weight: its share of the
    rows of a batch, beside those of the other parts.
    """

    data: Choice("viva.text.rows.corpus")
    format: Choice("viva.text.rows.format") | None = None
    weight: PositiveFloat | None = None


class Config(Corpus):
    """parts: each with its `data`, and perhaps `format` and `weight`.

    Weights are shares of the rows of a batch: of tokens where documents are packed into rows, of documents where each
    is a row. No row is copied: of a part with a larger share documents are read several times an epoch, of one with a
    smaller share some in each, in turn. Without any weight each document is read once an epoch.
    """

    parts: tuple[Part, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _weighted_alike(self) -> Self:
        weighted = [part.weight is not None for part in self.parts]
        if any(weighted) and not all(weighted):
            raise ValueError("must have a `weight` in each of its parts, or in none")
        if any(isinstance(part.data, Config) for part in self.parts):
            raise ValueError("must have no mixture among its parts: give theirs instead")
        return self

    def rows(self) -> Iterator[Row]:
        """The rows of all parts, one after another, each once."""
        for part in self.parts:
            yield from part.data.rows()

    def each(self) -> Iterator[Row | Refusal]:
        """As of any corpus; what cannot be read of one part does not stop the next."""
        for part in self.parts:
            yield from part.data.each()

    def digest(self) -> str:
        return hashlib.sha256(" ".join(part.data.digest() for part in self.parts).encode()).hexdigest()

    def notes(self) -> list[str]:
        return [note for part in self.parts for note in part.data.notes()]
