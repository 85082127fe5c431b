"""A reply while it is written: its text as it becomes certain, and what is told of it step by step."""

from dataclasses import dataclass
from typing import Literal

from viva.infer.engine.pick import Drawing, Picked
from viva.infer.engine.request import Request
from viva.infer.engine.search import Search
from viva.infer.stop import Guard
from viva.text.tokens.tokenizer import Tokenizer

Finish = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Delta:
    """What a step made of a request: a token, the text that became certain by it, and at the end why it ended.

    `error` is the sentence of a request that failed; the others go on. It is `stuck` where no token could go on in the
    form that was asked for, which is no fault of the model. `full` is what had no room for as many tokens as were asked
    for, where a reply ended by that.
    """

    number: int
    text: str
    picked: Picked | None = None
    finish: Finish | None = None
    error: str | None = None
    full: str | None = None
    stuck: bool = False


class Writer:
    """The text of a reply as it becomes certain."""

    def __init__(self, tokenizer: Tokenizer | None, stop: tuple[str, ...]):
        self.stream, self.guard = tokenizer and tokenizer.stream(), Guard(stop)

    def push(self, token: int, guarded: bool = True) -> str:
        """The text that is certain by a token; what is not `guarded` is written whatever stop string is in it."""
        text = self.stream.push(token) if self.stream else ""
        return self.guard.push(text) if guarded else text

    def end(self) -> str:
        if self.stream is None or self.guard.hit:
            return ""
        return self.guard.push(self.stream.end()) + self.guard.end()


@dataclass(eq=False)
class Going:
    """What an engine knows of a request beside its place in the cache."""

    request: Request
    drawing: Drawing
    writer: Writer
    search: Search | None = None

    @property
    def requests(self) -> list[Request]:
        """What stands for it in the schedule: itself, or the beams of a search."""
        return [self.request] if self.search is None else self.search.beams

    def written(self, token: int) -> tuple[str, bool]:
        """The text that is certain by a token, and whether the reply ends with it."""
        if token in self.drawing.stops:
            return "", True
        early = len(self.request.tokens) < self.drawing.asked.min_new_tokens
        text, grammar = self.writer.push(token, guarded=not early), self.drawing.grammar
        if grammar is not None:
            grammar.take(token)
        return text, self.writer.guard.hit or (grammar is not None and grammar.over)
