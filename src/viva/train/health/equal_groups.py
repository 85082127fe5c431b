"""Prompts whose replies are all worth the same: they teach nothing (DAPO, Yu et al. 2025,
https://arxiv.org/abs/2503.14476, section 3.2).
"""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History
from viva.train.health._rewards import solved


class Config(Base):
    """`most`: the share of such prompts, unless replies are worth nearly the most that any was. Above 0.9 less than a
    tenth of what is drawn is learned from.
    """

    reads: ClassVar[tuple[str, ...]] = ("equal_groups",)

    most: float = Field(0.9, gt=0, lt=1)

    @property
    def healthy(self) -> str:
        return f"at most {self.most:.0%} of prompts with replies all worth the same"

    def trouble(self, history: History) -> str | None:
        if (equal := history.last("equal_groups", self.window)) <= self.most or solved(history, self.window):
            return None
        return (
            f"the replies to {equal:.0%} of the prompts are all worth the same, at a reward of "
            f"{history.last('reward', self.window):.3g}, above {self.most:.0%}: hardly anything is learned; ask easier "
            "or harder prompts, draw more replies, or give a reward that tells them apart"
        )
