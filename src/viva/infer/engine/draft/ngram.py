"""Prompt lookup (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding): what followed the last tokens
where they stood in the text before. It asks no model, and helps where a reply repeats its prompt or itself.
"""

from collections.abc import Sequence
from itertools import cycle, islice

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.infer.engine.draft._drafter import Drafter, Load
from viva.infer.engine.pick import Drawing
from viva.infer.engine.request import Request
from viva.model.spec import Spec


class Config(BaseConfig):
    """The longest run of tokens that stood there before is gone by, the last time that it did."""

    length: int = Field(8, ge=1, le=64, description="guess so many tokens at a time")
    longest: int = Field(3, ge=1, le=16, description="look for the last so many tokens, or for fewer")

    def build(self, target: Spec, load: Load) -> "Lookup":
        return Lookup(self)


class Lookup(Drafter):
    def __init__(self, config: Config):
        self.config = config
        self._texts: dict[Request, _Text] = {}

    def guess(self, writing: Sequence[tuple[Request, Drawing]]) -> list[list[int]]:
        return [self._text(request).follow(self.config.length) for request, _ in writing]

    def forget(self, request: Request) -> None:
        self._texts.pop(request, None)

    def _text(self, request: Request) -> "_Text":
        """What is known of a request, with what has come since it was last asked for."""
        text = self._texts.setdefault(request, _Text(self.config.longest))
        text.grow(request.text(len(text.tokens), request.known))
        return text


class _Text:
    """Tokens, and where each run of `longest` of them or fewer last ended with another token behind it."""

    def __init__(self, longest: int):
        self.tokens: list[int] = []
        self._sizes = range(longest, 0, -1)
        self._ends: dict[tuple[int, ...], int] = {}

    def grow(self, tokens: list[int]) -> None:
        for token in tokens:
            for size in self._sizes:
                self._ends[tuple(self.tokens[-size:])] = len(self.tokens)
            self.tokens.append(token)

    def follow(self, length: int) -> list[int]:
        """What followed the longest run that the text ends in; where that reaches the text's end, again from there."""
        found = (self._ends.get(tuple(self.tokens[-size:])) for size in self._sizes)
        at = next((end for end in found if end), None)
        return [] if at is None else list(islice(cycle(self.tokens[at:]), length))
