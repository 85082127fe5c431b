"""A reward that rises while the truth falls: the policy has learned to please the judge (Gao et al. 2022,
https://arxiv.org/abs/2210.10760, figure 1).
"""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History
from viva.train.health._rewards import best_and_fall

HELD_OUT, ROUNDS = "valid_", ""  # what is measured of held-out prompts at an evaluation, and of each round's own


class Config(Base):
    """`errors`: by how many standard errors of a difference the truth may be below its best, while the reward is above
    what it was then; 3, which replies that are no worse reach about once in a thousand times.
    """

    reads: ClassVar[tuple[str, ...]] = ("reward", "truth", "truth_error")

    errors: float = Field(3.0, gt=0)

    @property
    def healthy(self) -> str:
        return f"truth within {self.errors:g} standard errors of its best while the reward rises"

    def trouble(self, history: History) -> str | None:
        return self._told(history, HELD_OUT, 1) or self._told(history, ROUNDS, self.window)

    def _told(self, history: History, where: str, window: int) -> str | None:
        seen = len(history[f"{where}truth_error"])
        if not seen or seen % window:
            return None
        rewards, truths = (history.blocks(f"{where}{name}", window) for name in ("reward", "truth"))
        best, fall, error = best_and_fall(history, f"{where}truth", window)
        if fall <= self.errors * error or rewards[-1] <= rewards[best]:
            return None
        prompts = "held-out prompts" if where == HELD_OUT else "the prompts of rounds"
        return (
            f"reward hacking: on {prompts} the reward rose from {rewards[best]:.3g} to {rewards[-1]:.3g} while the "
            f"truth fell from {truths[best]:.3g} to {truths[-1]:.3g}, by more than {self.errors:g} standard errors of "
            f"{error:.2g}; take a checkpoint from before, raise beta, or mend the reward"
        )
