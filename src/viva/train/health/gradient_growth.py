"""A gradient that grows: training is about to diverge."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Base
from viva.train.health._history import History

START = 3  # steps with a gradient: a rate far too high may tell in the second


class Config(Base):
    """`growth`: in a run that converges the norm of the gradient stays within a few times of what it was; `least`: a
    norm up to 1, where it is usually clipped, does no harm however small it was before.
    """

    reads: ClassVar[tuple[str, ...]] = ("norm",)

    window: PositiveInt = 10
    growth: float = Field(10.0, gt=1)
    least: float = Field(1.0, ge=0)

    @property
    def needs(self) -> int:
        return self.window + START

    @property
    def healthy(self) -> str:
        return f"the gradient's norm at most {self.growth:g} times the first, or {self.least:g}"

    def trouble(self, history: History) -> str | None:
        first = min([norm for norm in history["norm"] if norm][:START], default=0.0)
        last = history.last("norm", self.window)
        if last <= max(self.growth * first, self.least):
            return None
        return (
            f"the norm of the gradient is {last:.3g} over the last {self.window} steps, more than {self.growth:g} "
            f"times the {first:.3g} at the start; lower train.lr or train.clip"
        )
