"""A loss far above where it began: training diverges."""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History

START = 3  # steps: the first batch alone may be hard, and a rate far too high may tell in the second


class Config(Base):
    """`rise`: where single batches differ by a half, the lowest of the first three is two thirds of their mean; the
    mean of a few later ones is never three times that. `least`: a rise by less is none, since a loss may begin at 0.
    """

    reads: ClassVar[tuple[str, ...]] = ("loss",)

    rise: float = Field(3.0, gt=1)
    least: float = Field(0.1, ge=0)

    @property
    def needs(self) -> int:
        return self.window + START

    @property
    def healthy(self) -> str:
        return f"the loss below {self.rise:g} times the first"

    def trouble(self, history: History) -> str | None:
        first, last = min(history["loss"][:START]), history.last("loss", self.window)
        if last - first <= max((self.rise - 1) * abs(first), self.least):
            return None
        return (
            f"the loss has risen to {last:.4g} over the last {self.window} steps, more than {self.rise:g} times the "
            f"{first:.4g} at the start; lower train.lr or train.clip, or warm up for longer"
        )
