"""A row of data with the place it came from, and what every corpus offers."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from viva.base.config import Config, kind
from viva.base.errors import Refusal


@dataclass(frozen=True)
class Row:
    """`data` by field name; `where` is "file:line", for messages to the user. `kin`: of several rows made of one, the
    hash of that one, so that all are trained on or all held out.
    """

    data: dict[str, Any]
    where: str
    kin: bytes | None = None

    @property
    def digest(self) -> bytes:
        """A hash of the content alone: equal rows have equal digests, wherever they stand."""
        text = json.dumps(self.data, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def strings(data: Any, but: frozenset[str] = frozenset()) -> Iterator[str]:
    """Every text in a row, however deep, except what stands in the fields `but`.

    >>> list(strings({"messages": [{"role": "user", "content": "hi"}], "id": 1}))
    ['user', 'hi']
    """
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for name, below in data.items():
            if name not in but:
                yield from strings(below, but)
    elif isinstance(data, list):
        for below in data:
            yield from strings(below, but)


def sound(each: Iterable[Row | Refusal]) -> Iterator[Row]:
    """The rows, up to the first that cannot be read, which is refused."""
    for found in each:
        if isinstance(found, Refusal):
            raise found
        yield found


class Corpus(Config):
    """The base of each file's Config in `corpus/`: where rows come from. `dropped` rows were left out before."""

    dropped: ClassVar[int] = 0

    def rows(self) -> Iterator[Row]:
        """The rows, in the same order each time; refused at the first that cannot be read."""
        raise NotImplementedError

    def each(self) -> Iterator[Row | Refusal]:
        """The rows and, in the place of what cannot be read, why; by default nothing is read behind that."""
        try:
            yield from self.rows()
        except Refusal as refusal:
            yield refusal

    def digest(self) -> str:
        """A hash of the content of all rows in order: what a cache made from them is keyed by."""
        found = hashlib.sha256()
        for row in self.rows():
            found.update(row.digest)
        return found.hexdigest()

    @property
    def label(self) -> str:
        """What it reads, for messages to the user: its kind, and its path or name."""
        said = self.model_dump()
        return " ".join([kind(self), *(str(said[key]) for key in ("path", "source", "name") if key in said)])

    def notes(self) -> list[str]:
        """What was passed over, in sentences for the user."""
        return []
