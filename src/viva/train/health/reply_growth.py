"""Replies that grow in length (Singhal et al. 2023, https://arxiv.org/abs/2310.03716: what pleases a reward model is
often length alone).
"""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """`growth`: twice as long as at the start is more than answers gain that only become better."""

    reads: ClassVar[tuple[str, ...]] = ("length",)

    growth: float = Field(2.0, gt=1)

    @property
    def needs(self) -> int:
        return 2 * self.window

    @property
    def healthy(self) -> str:
        return f"replies at most {self.growth:g} times as long as the first"

    def trouble(self, history: History) -> str | None:
        first, last = history.first("length", self.window), history.last("length", self.window)
        if last <= self.growth * first:
            return None
        return (
            f"replies have grown to {last:.3g} tokens from {first:.3g}, more than {self.growth:g} times; see whether "
            "they are better or only longer, and take the length out of the reward"
        )
