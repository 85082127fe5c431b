"""A linear fall from the peak after warmup."""

from pydantic import Field, NonNegativeInt

from viva.base.config import Config as Base
from viva.train.schedule import done, warm


class Config(Base):
    """`warmup`: steps of linear rise; `floor`: the share of the peak at which the fall would end."""

    warmup: NonNegativeInt = 0
    floor: float = Field(0.0, ge=0, le=1)

    def factor(self, step: int, steps: int) -> float:
        """Falls from 1 at the end of warmup to `floor` just after the last step."""
        return warm(step, self.warmup) * (1 - (1 - self.floor) * done(step, steps, self.warmup))
