"""Warmup, stable, decay: Hu et al. 2024 (MiniCPM), section 4.2, with the linear decay of Hagele et al. 2024."""

from math import ceil

from pydantic import Field, NonNegativeInt

from viva.base.config import Config as Base
from viva.train.schedule import done, warm


class Config(Base):
    """`warmup`: steps of linear rise; `decay`: the last share of all steps, in which the rate falls to `floor`."""

    warmup: NonNegativeInt = 0
    decay: float = Field(0.1, ge=0, le=1)
    floor: float = Field(0.0, ge=0, le=1)

    def factor(self, step: int, steps: int) -> float:
        """The peak between warmup and the decay, which ends at `floor` just after the last step."""
        start = steps - ceil(self.decay * steps)
        return warm(step, self.warmup) * (1 - (1 - self.floor) * done(step, steps, start))
