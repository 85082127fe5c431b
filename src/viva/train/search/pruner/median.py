"""A trial is given up whose best value so far is worse than the median of the others at the same step (Golovin et al.
2017, Google Vizier, section 3.2.2).
"""

from typing import Any

from pydantic import NonNegativeInt, PositiveInt

from viva.base.config import Config as Base
from viva.train.search import optuna


class Config(Base):
    """`startup`: trials that come to their end before any is given up; `warmup`: steps of each before it may be."""

    startup: PositiveInt = 5
    warmup: NonNegativeInt = 0

    def build(self) -> Any:
        return optuna().pruners.MedianPruner(n_startup_trials=self.startup, n_warmup_steps=self.warmup)
