"""Replies that are one of a few texts, by tokens that cannot write every text, such as WordPiece's: there a token that
goes on well may lead where none does. So it is looked up ahead by which ones each text is written to its end.
"""

import copy
from collections.abc import Sequence

import numpy as np

from viva.base.errors import Refusal
from viva.infer.engine.vocabulary import Vocabulary


class Choice:
    """What may follow of `texts`, as a matcher in the manner of llguidance's. Refused: one that no tokens write."""

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary):
        self._vocabulary, self._written = vocabulary, 0  # bytes
        self._numbers: dict[bytes, list[int]] = {}
        for number, token in enumerate(vocabulary.tokens):
            self._numbers.setdefault(token, []).append(number)
        self._left = [(text, _ends(text, vocabulary)) for text in map(str.encode, dict.fromkeys(texts))]
        for text, ends in self._left:
            if not _begins(text, ends, vocabulary):
                must, fix = "choice must be of texts that the model's tokens can write", "change it, or leave it out"
                raise Refusal(must, repr(text.decode()), fix)

    def deep_copy(self) -> "Choice":
        """Another one that is as far."""
        return copy.copy(self)

    def is_accepting(self) -> bool:
        """Whether one of the texts is written."""
        return any(len(text) == self._written for text, _ in self._left)

    def is_stopped(self) -> bool:
        """Whether nothing can follow."""
        return all(len(text) == self._written for text, _ in self._left)

    def is_error(self) -> bool:
        """It comes to no bound."""
        return False

    def compute_bitmask(self) -> bytes:
        """A bit for each token: whether it goes on with a text that can be written to its end behind it."""
        found = np.zeros(len(self._vocabulary.tokens), bool)
        for text, ends in self._left:
            for size in self._vocabulary.sizes:
                if (end := self._written + size) > len(text):
                    break
                if ends[end]:
                    found[self._numbers.get(text[self._written : end], [])] = True
        return np.packbits(found, bitorder="little").tobytes()

    def consume_token(self, number: int) -> None:
        """Go on by a token."""
        token = self._vocabulary.tokens[number]
        end = self._written + len(token)
        self._left = [(text, ends) for text, ends in self._left if text.startswith(token, self._written) and ends[end]]
        self._written = end

    def validate_tokens(self, numbers: list[int]) -> int:
        """How many of them can follow."""
        ahead = self.deep_copy()
        for count, number in enumerate(numbers):
            ahead.consume_token(number)
            if not ahead._left:
                return count
        return len(numbers)


def _ends(text: bytes, vocabulary: Vocabulary) -> bytearray:
    """[bytes + 1]: whether what follows behind so many bytes can be written by tokens that do not begin the text."""
    ends = bytearray(len(text)) + b"\1"
    for start in range(len(text) - 1, -1, -1):
        parts = ((start + size, text[start : start + size]) for size in vocabulary.sizes if start + size <= len(text))
        ends[start] = any(ends[end] and part in vocabulary.number for end, part in parts)
    return ends


def _begins(text: bytes, ends: bytearray, vocabulary: Vocabulary) -> bool:
    """Whether a token begins the text behind which the rest can be written."""
    return any(ends[size] and text[:size] in vocabulary.begins for size in (0, *vocabulary.sizes) if size <= len(text))
