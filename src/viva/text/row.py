"""A row of data with the place it came from, and what every corpus offers."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from viva.base.config import Config


@dataclass(frozen=True)
class Row:
    """`data` by field name; `where` is "file:line", for messages to the user."""

    data: dict[str, Any]
    where: str

    @property
    def digest(self) -> bytes:
        """A hash of the content alone: equal rows have equal digests, wherever they stand."""
        text = json.dumps(self.data, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Corpus(Config):
    """The base of each file's Config in `text/corpus`: where rows come from."""

    def rows(self) -> Iterator[Row]:
        """The rows, in the same order each time."""
        raise NotImplementedError

    def digest(self) -> str:
        """A hash of the content of all rows in order: what a cache made from them is keyed by."""
        found = hashlib.sha256()
        for row in self.rows():
            found.update(row.digest)
        return found.hexdigest()

    def notes(self) -> list[str]:
        """What was passed over, in sentences for the user."""
        return []
