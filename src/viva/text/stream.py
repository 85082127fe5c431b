"""Text from ids that arrive one by one."""

from collections.abc import Callable

HALF = "\ufffd"  # what a decoder writes for bytes that are not, or not yet, a character


class Stream:
    """Decodes ids as they come; what was emitted is final, and no character is emitted before its last byte.

    Only the ids since the last emitted piece are decoded again, with one emitted piece before them, since some
    decoders treat the start of a text differently. Text that ends in U+FFFD waits: the next id may complete it.
    """

    def __init__(self, decode: Callable[[list[int]], str]):
        self._decode = decode
        self._before: list[int] = []  # the ids of the last emitted piece
        self._waiting: list[int] = []

    def push(self, token: int) -> str:
        """Take one id; return the text that has become certain, often "" inside a character of many bytes."""
        self._waiting.append(token)
        text = self._text()
        return "" if text.endswith(HALF) else self._emit(text)

    def end(self) -> str:
        """The text still held back, broken characters as U+FFFD."""
        return self._emit(self._text())

    def _text(self) -> str:
        emitted = self._decode(self._before)
        return self._decode(self._before + self._waiting)[len(emitted) :]

    def _emit(self, text: str) -> str:
        if text:
            self._before, self._waiting = self._waiting, []
        return text
