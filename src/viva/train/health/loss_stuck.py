"""A loss that is no lower than at the start."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """`window`: single batches differ by more than a fine-tuning gains, the means of 50 seldom do; so it is judged
    after 100 steps. `fall`: the share by which it must be lower then, hardly anything: the loss of rows that come again
    and again falls steadily at any rate.
    """

    reads: ClassVar[tuple[str, ...]] = ("loss",)

    window: PositiveInt = 50
    fall: float = Field(0.001, ge=0)

    @property
    def needs(self) -> int:
        return 2 * self.window

    @property
    def healthy(self) -> str:
        return f"the loss {self.fall:.1%} lower over the last {self.window} steps than over the first"

    def trouble(self, history: History) -> str | None:
        first, last = history.first("loss", self.window), history.last("loss", self.window)
        if first - last > self.fall * abs(first):
            return None
        return (
            f"the loss does not fall: {last:.4g} over the last {self.window} steps, {first:.4g} over the first; lower "
            "train.lr if it rises, raise it if nothing moves, or look by --dry-run at what is learned"
        )
