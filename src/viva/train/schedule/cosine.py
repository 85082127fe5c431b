"""Half a period of a cosine from the peak after warmup: Loshchilov & Hutter 2017 (SGDR), eq. 5, without restarts."""

from math import cos, pi

from pydantic import Field, NonNegativeInt

from viva.base.config import Config as Base
from viva.train.schedule import done, warm


class Config(Base):
    """`warmup`: steps of linear rise; `floor`: the share of the peak at which the fall would end."""

    warmup: NonNegativeInt = 0
    floor: float = Field(0.0, ge=0, le=1)

    def factor(self, step: int, steps: int) -> float:
        """floor + (1 - floor) (1 + cos(pi done)) / 2 after warmup."""
        fall = (1 + cos(pi * done(step, steps, self.warmup))) / 2
        return warm(step, self.warmup) * (self.floor + (1 - self.floor) * fall)
