"""The fast way of a text to its ids, for tokenizers that have one: byte-level BPE (text/tokens/byte_pairs.py)."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import tokenizers

from viva.text.tokens.added import Added
from viva.text.tokens.byte_pairs import BytePairs, Unfit
from viva.text.tokens.marks import BREAK, unshield
from viva.text.tokens.pattern import PROBES


class Fast:
    """Whole texts: added tokens cut them, what lies between is encoded by itself, as in `tokenizers`.

    `core` takes special tokens in a text for text. A method that returns None cannot tell the ids: the text is one for
    `tokenizers`. Raises `Unfit`.
    """

    def __init__(self, core: tokenizers.Tokenizer, parts: dict[str, Any]):
        self._added = Added(parts)
        self._pairs = BytePairs(core, parts)
        for probe in PROBES:  # versions of the libraries may differ in their tables of Unicode
            if self.plain(probe) != core.encode(probe, add_special_tokens=False).ids:
                raise Unfit(f"the libraries read {probe!r} in two ways")

    def plain(self, text: str) -> list[int] | None:
        """The ids of a text in which special tokens are text."""
        found: list[int] = []
        for _, piece, number in self._added.cut(text, special=False):
            ids = self._pairs.encode(piece) if number is None else [number]
            if ids is None:
                return None
            found += ids
        return found

    def marked(self, text: str) -> "Marked | None":
        """A marked text (marks.py), in which special tokens count. None also where the normaliser changes it, for then
        the places of its tokens are not those of their bytes.
        """
        pieces = []
        for start, piece, number in self._added.cut(text, special=True):
            said = unshield(piece) if number is None else piece
            if number is None and self._pairs.normalised(said) != said:
                return None
            ids = self._pairs.encode(said) if number is None else [number]
            if ids is None:
                return None
            pieces.append(Piece(start, piece, ids, number is not None))
        return Marked(pieces, self._pairs)


@dataclass(frozen=True)
class Piece:
    """A part of a marked text, `start` characters after its beginning: an added token, or what lies between two."""

    start: int
    text: str
    ids: list[int]
    added: bool

    def offsets(self, pairs: BytePairs) -> np.ndarray:
        """The characters [start, end) of the marked text that each id has bytes of, [n, 2]."""
        if self.added:
            return np.array([[self.start, self.start + len(self.text)]])
        ends = np.cumsum(pairs.sizes(self.ids))
        first, last = ends - pairs.sizes(self.ids), ends - 1
        if not self.text.isascii():
            content = np.frombuffer(unshield(self.text).encode(), np.uint8)
            character = np.cumsum((content & 0xC0) != 0x80) - 1  # of each byte: any but these begins one
            kept = _kept(self.text)
            first, last = kept[character[first]], kept[character[last]]
        return np.stack([first, last + 1], axis=1) + self.start


def _kept(text: str) -> np.ndarray:
    """The places of the characters of a marked text that no BREAK takes away."""
    kept = np.ones(len(text), bool)
    for found in re.finditer(BREAK, text):
        kept[found.start() : found.end()] = False
    return np.flatnonzero(kept)


class Marked:
    """The `ids` of a marked text and the `offsets` [start, end) of their characters in it, as `tokenizers` has them."""

    def __init__(self, pieces: list[Piece], pairs: BytePairs):
        self._pieces, self._pairs = pieces, pairs

    @cached_property
    def ids(self) -> list[int]:
        return list(chain.from_iterable(piece.ids for piece in self._pieces))

    @cached_property
    def offsets(self) -> list[tuple[int, int]]:
        return [(start, end) for piece in self._pieces for start, end in piece.offsets(self._pairs).tolist()]
