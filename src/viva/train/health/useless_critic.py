"""A critic that says no more of returns than their mean does (PPO)."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Later
from viva.train.health._history import History
from viva.train.health._rewards import solved


class Config(Later):
    """`least`: the share of the returns' variance that values must explain more than, `after` so many rounds; at 0 they
    say what a constant would, as those of a critic that never learned do, and below it a constant would do better.
    """

    reads: ClassVar[tuple[str, ...]] = ("explained_variance",)

    least: float = Field(0.0, le=1)
    after: PositiveInt = 30

    @property
    def healthy(self) -> str:
        return f"explained variance above {self.least:g} after {self.after} rounds"

    def trouble(self, history: History) -> str | None:
        if (explained := history.last("explained_variance", self.window)) > self.least:
            return None
        if solved(history, self.window):  # returns hardly vary then, and there is nothing to explain
            return None
        return (
            f"the critic explains {explained:.2f} of the returns' variance after {len(history['explained_variance'])} "
            f"rounds, not more than {self.least:g}; raise its weight or rate, or learn rewards that vary less "
            "(whiten_rewards)"
        )
