"""A constant rate after warmup."""

from pydantic import NonNegativeInt

from viva.base.config import Config as Base
from viva.train.schedule import warm


class Config(Base):
    """`warmup`: steps of linear rise to the peak."""

    warmup: NonNegativeInt = 0

    def factor(self, step: int, steps: int) -> float:
        """1 after warmup; `steps` does not matter."""
        return warm(step, self.warmup)
