"""A reward that falls, or never rises: the policy is broken, or learns nothing."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Base
from viva.train.health._history import History
from viva.train.health._rewards import best_and_fall, solved


class Config(Base):
    """`errors`: by how many standard errors of a difference it may be below its best, which is chosen among many;
    `after` so many rounds the reward must be above that of the first ones.
    """

    reads: ClassVar[tuple[str, ...]] = ("reward", "reward_error")

    errors: float = Field(4.0, gt=0)
    after: PositiveInt = 100

    @property
    def healthy(self) -> str:
        return f"reward within {self.errors:g} standard errors of its best and risen after {self.after} rounds"

    def trouble(self, history: History) -> str | None:
        if len(history["reward"]) % self.window:
            return None
        blocks = history.blocks("reward", self.window)
        best, fall, error = best_and_fall(history, "reward", self.window)
        if fall > self.errors * error:
            return (
                f"the reward has fallen to {blocks[-1]:.3g} from {blocks[best]:.3g}, by more than {self.errors:g} "
                f"standard errors of {error:.2g}; lower train.lr, raise beta, or take a checkpoint from before"
            )
        if len(history["reward"]) >= self.after and blocks[-1] <= blocks[0] and not solved(history, self.window):
            return (
                f"the reward does not rise: {blocks[-1]:.3g} after {len(history['reward'])} rounds, {blocks[0]:.3g} at "
                "the start; raise train.lr, lower beta, or give a reward that tells replies apart"
            )
        return None
