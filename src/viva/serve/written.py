"""Replies as they are written: what each step of the engine adds to them, for endpoints to put in their form."""

import codecs
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from viva.infer.engine.engine import Delta
from viva.infer.engine.pick import Picked
from viva.text.talk.call_form import Form
from viva.text.talk.calls import Call, Reader
from viva.text.tokens.tokenizer import Tokenizer

Finish = Literal["stop", "length", "tool_calls"]
KEPT = 2**14  # tokens whose spelling is remembered


@dataclass(frozen=True)
class Piece:
    """What a step adds to reply `index`: text, calls of tools, and the tokens behind it with their log-probabilities,
    where these were asked for.
    """

    index: int
    text: str
    calls: tuple[Call, ...] = ()
    picked: tuple[Picked, ...] = ()
    finish: Finish | None = None


class Reply:
    """One reply. Where the client gave tools, calls are taken out of what is said (`text/talk/calls.py`)."""

    def __init__(self, index: int, ends: frozenset[int], form: Form | None = None):
        self.index, self.tokens = index, 0
        self._ends, self._reader, self._called = ends, form and Reader(form), False

    def take(self, delta: Delta) -> Piece:
        """What a delta adds. The token that ends a reply counts, but is no part of it."""
        self.tokens += delta.picked is not None
        text, calls = delta.text, []
        if self._reader is not None:
            text, calls = self._reader.push(delta.text)
            if delta.finish:
                rest, more = self._reader.end()
                text, calls = text + rest, calls + more
        self._called = self._called or bool(calls)
        finish = "tool_calls" if delta.finish == "stop" and self._called else delta.finish
        return Piece(self.index, text, tuple(calls), self._told(delta), finish)

    def _told(self, delta: Delta) -> tuple[Picked, ...]:
        picked = delta.picked
        if picked is None or picked.logprob is None or (delta.finish == "stop" and picked.token in self._ends):
            return ()
        return (picked,)


class Spelling:
    """The text of single tokens, as log-probabilities name them."""

    def __init__(self, tokenizer: Tokenizer):
        self._spelled = lru_cache(KEPT)(tokenizer.spelled)

    def __call__(self, token: int, first: bool) -> tuple[str, list[int]]:
        """A token's text, and the bytes that it adds to a reply, of which it is the `first` or not; joined, those of
        all tokens are the reply. Of one that is a part of a character the text has U+FFFD.
        """
        spelled = self._spelled(token, first)
        return spelled.decode("utf-8", "replace"), list(spelled)


class Place:
    """How far a reply has come."""

    def __init__(self):
        self.characters = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, spelled: list[int]) -> int:
        """Go on by the bytes of a token; in which character, from 0 on, it begins."""
        begins = self.characters
        self.characters += len(self._decoder.decode(bytes(spelled)))
        return begins
