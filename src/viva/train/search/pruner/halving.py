"""Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934): of the trials that came to the
k-th rung, after `least` factor^k steps, the best 1 / factor go on.
"""

from typing import Any

from pydantic import Field, PositiveInt

from viva.base.config import Config as Base
from viva.train.search import optuna


class Config(Base):
    """`least`: the steps of the first rung."""

    least: PositiveInt = 1
    factor: int = Field(4, ge=2)

    def build(self) -> Any:
        return optuna().pruners.SuccessiveHalvingPruner(min_resource=self.least, reduction_factor=self.factor)
