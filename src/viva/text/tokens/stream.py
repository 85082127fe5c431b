"""Text from ids that arrive one by one."""

import codecs
from collections.abc import Callable


class Bytes:
    """Ids that stand for bytes, end to end: text as soon as the bytes of a character are complete."""

    def __init__(self, spell: Callable[[int], bytes]):
        """`spell` gives the bytes of an id."""
        self._spell = spell
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def held(self) -> bool:
        """Whether text of the ids so far is not certain yet."""
        return bool(self._decoder.getstate()[0])

    def push(self, token: int) -> str:
        """Take one id; return the text that has become certain, often "" inside a character of many bytes."""
        return self._decoder.decode(self._spell(token))

    def end(self) -> str:
        """The text still held back, broken characters as U+FFFD."""
        return self._decoder.decode(b"", final=True)


class Tokens:
    """Ids whose text depends on no other, but for two things: the first of a text may lose its space, and ids of single
    bytes that follow each other (SentencePiece's <0xE4>) are characters, or all of them broken, only together. So these
    wait for the end of their row, and nothing else waits.
    """

    def __init__(self, decode: Callable[[list[int]], str], waits: Callable[[int], bool], drops: Callable[[int], bool]):
        """`decode` gives the text of ids, `waits` tells those of a part of a character, `drops` those of no text."""
        self._decode, self._waits, self._drops = decode, waits, drops
        self._before: list[int] = []  # the last id whose text was emitted: what follows is not the first of a text
        self._waiting: list[int] = []

    @property
    def held(self) -> bool:
        """Whether text of the ids so far is not certain yet."""
        return bool(self._waiting)

    def push(self, token: int) -> str:
        """Take one id; return the text that has become certain."""
        if self._drops(token):
            return ""
        self._waiting.append(token)
        return "" if self._waits(token) else self.end()

    def end(self) -> str:
        """The text still held back, broken characters as U+FFFD."""
        if not self._waiting:
            return ""
        known = self._decode(self._before)
        text = self._decode(self._before + self._waiting)[len(known) :]
        self._before, self._waiting = self._waiting[-1:], []
        return text


Stream = Bytes | Tokens
