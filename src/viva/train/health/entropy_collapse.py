"""A policy that draws the same replies again and again before it found good ones (Cui et al. 2025,
https://arxiv.org/abs/2505.22617, section 2).
"""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History
from viva.train.health._rewards import solved


class Config(Base):
    """`share` of the first round's entropy that must be left, unless replies are worth nearly the most that any was:
    below a tenth, replies to a prompt are alike, and nothing is learned from their difference.
    """

    reads: ClassVar[tuple[str, ...]] = ("entropy",)

    share: float = Field(0.1, gt=0, lt=1)

    @property
    def healthy(self) -> str:
        return f"entropy at least {self.share:.0%} of the first round's, until the reward is near its best"

    def trouble(self, history: History) -> str | None:
        first, last = history["entropy"][0], history.last("entropy", self.window)
        if last >= self.share * first or solved(history, self.window):
            return None
        return (
            f"the entropy has collapsed to {last:.3g} nats a token, below {self.share:.0%} of the {first:.3g} at the "
            "start: nothing new is tried; lower train.lr, raise beta or clip's upper side, or reward other replies too"
        )
