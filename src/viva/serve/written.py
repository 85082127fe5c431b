"""Replies as they are written: what each step of the engine adds to them, for endpoints to put in their form."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from viva.infer.engine.engine import Delta
from viva.serve.placed import Placed, Placing
from viva.text.talk.call_form import Form
from viva.text.talk.calls import Call, Reader
from viva.text.tokens.tokenizer import Tokenizer

Finish = Literal["stop", "length", "tool_calls"]
KEPT = 2**14  # tokens whose spelling is remembered


@dataclass(frozen=True)
class Piece:
    """What a step adds to reply `index`: text, calls of tools, and the tokens that begin in what was said so far, where
    log-probabilities were asked for.
    """

    index: int
    text: str
    calls: tuple[Call, ...] = ()
    picked: tuple[Placed, ...] = ()
    finish: Finish | None = None


class Reply:
    """One reply. Where the client gave tools, calls are taken out of what is said (`text/talk/calls.py`); where it
    wants log-probabilities, `placing` says which tokens are told.
    """

    def __init__(self, index: int, ends: frozenset[int], form: Form | None = None, placing: Placing | None = None):
        self.index, self.tokens, self._placing = index, 0, placing
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

    def _told(self, delta: Delta) -> tuple[Placed, ...]:
        if self._placing is None:
            return ()
        ends = delta.finish == "stop" and delta.picked is not None and delta.picked.token in self._ends
        return self._placing.take(None if ends else delta.picked, delta.text, delta.finish is not None)


class Spelling:
    """The text of single tokens, as log-probabilities name them."""

    def __init__(self, tokenizer: Tokenizer):
        self._spelled = lru_cache(KEPT)(tokenizer.spelled)

    def __call__(self, token: int, first: bool) -> tuple[str, list[int]]:
        """A token's text, and the bytes that it adds to a reply, of which it is the `first` or not; joined, those of
        all tokens that are told are the reply, whose last one a stop string may have cut. Of one that is a part of a
        character the text has U+FFFD.
        """
        spelled = self._spelled(token, first)
        return spelled.decode("utf-8", "replace"), list(spelled)
