"""Documents of several token caches, end to end, read as those of one."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np

from viva.text.cache.documents import Counts, Documents
from viva.text.tokens.fingerprint import Fingerprint, digest


class Joined:
    """What `Documents` are to who reads them; those of part k come behind those of part k - 1."""

    def __init__(self, parts: Sequence[Documents]):
        self.parts = list(parts)
        self._starts = [0, *accumulate(len(part) for part in self.parts)]
        self.lengths, self.bytes, self.cuts, self.labels = (
            np.concatenate([getattr(part, name) for part in self.parts])
            for name in ("lengths", "bytes", "cuts", "labels")
        )

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the tokenizer, which all parts have in common."""
        return self.parts[0].fingerprint

    @cached_property
    def name(self) -> str:
        """A hash of the parts' names."""
        return digest([part.name for part in self.parts])[:24]

    @property
    def counts(self) -> Counts:
        """The sum over the parts."""
        each = [vars(part.counts) for part in self.parts]
        return Counts(**{name: sum(counts[name] for counts in each) for name in each[0]})

    @property
    def notes(self) -> list[str]:
        """What was said of each."""
        return [note for part in self.parts for note in part.notes]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, document: int) -> tuple[np.ndarray, np.ndarray]:
        part, inside = self._place(document)
        return part[inside]

    def tail(self, document: int) -> tuple[int, ...]:
        """What would stand behind a reply to a document."""
        part, inside = self._place(document)
        return part.tail(inside)

    def tags(self, document: int) -> np.ndarray:
        """A class for each token of a document."""
        part, inside = self._place(document)
        return part.tags(inside)

    def tally(self, size: int) -> np.ndarray:
        """How often each of the ids below `size` occurs, [size]."""
        return sum(part.tally(size) for part in self.parts)

    def tally_classes(self, size: int) -> np.ndarray:
        """How many documents, or tokens with tags, are of each class below `size`, [size]."""
        return sum(part.tally_classes(size) for part in self.parts)

    def _place(self, document: int) -> tuple[Documents, int]:
        part = bisect_right(self._starts, document) - 1
        return self.parts[part], document - self._starts[part]
