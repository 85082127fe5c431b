"""Whole replies, put together from what the steps of an engine made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from viva.infer.engine.engine import Delta, Finish
from viva.infer.engine.pick import Picked


@dataclass(frozen=True)
class Reply:
    """A whole reply: its text, its tokens as they were drawn, and why it ended; `error` says why one failed, and it is
    `stuck` where its form led nowhere, which is no failure of the model; `full` what had no room for more, where fewer
    were written than were asked for.
    """

    text: str
    picked: tuple[Picked, ...]
    finish: Finish
    prompt_tokens: int
    error: str | None = None
    full: str | None = None
    stuck: bool = False

    @property
    def tokens(self) -> list[int]:
        return [picked.token for picked in self.picked]


class Gathered:
    """The replies to the prompt at `place` among many, by their `numbers`, as far as they have come."""

    def __init__(self, place: int, prompt_tokens: int, numbers: Sequence[int]):
        self.place, self.prompt_tokens = place, prompt_tokens
        self._deltas: dict[int, list[Delta]] = {number: [] for number in numbers}
        self._open = len(self._deltas)

    def take(self, delta: Delta) -> bool:
        """Whether all have ended by it."""
        self._deltas[delta.number].append(delta)
        self._open -= delta.finish is not None
        return not self._open

    @property
    def replies(self) -> list[Reply]:
        """In the order of their numbers."""
        return [self._reply(deltas) for deltas in self._deltas.values()]

    def _reply(self, deltas: list[Delta]) -> Reply:
        picked = tuple(delta.picked for delta in deltas if delta.picked is not None)
        text, last = "".join(delta.text for delta in deltas), deltas[-1]
        return Reply(text, picked, last.finish, self.prompt_tokens, last.error, last.full, last.stuck)
