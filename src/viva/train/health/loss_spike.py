"""A loss that leaps (as in the training of PaLM, Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311, section
5.1).
"""

from statistics import fmean, pstdev
from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """A spike is `deviations` of the `window` steps before above their mean, which batches alone do not bring about,
    and by the share `lift` above it, since a loss that hardly varies has small deviations.
    """

    reads: ClassVar[tuple[str, ...]] = ("loss",)

    window: PositiveInt = 50
    deviations: float = Field(8.0, gt=0)
    lift: float = Field(0.5, ge=0)

    @property
    def needs(self) -> int:
        return self.window + 1

    @property
    def healthy(self) -> str:
        return f"no loss {self.deviations:g} standard deviations and {self.lift:.0%} above the {self.window} before it"

    def trouble(self, history: History) -> str | None:
        *before, loss = history["loss"][-self.window - 1 :]
        mean = fmean(before)
        if loss <= mean + max(self.deviations * pstdev(before), self.lift * abs(mean)):
            return None
        return (
            f"the loss leaps to {loss:.4g} from {mean:.4g}, the mean of the {self.window} steps before; lower train.lr "
            "or train.clip, warm up for longer, or look for unlike rows in the data"
        )
