"""Settings drawn independently (Bergstra and Bengio 2012)."""

from typing import Any

from viva.base.config import Config as Base
from viva.train.search import optuna
from viva.train.search.plan import Plan


class Config(Base):
    """No fields."""

    def build(self, plan: Plan, seed: int) -> Any:
        return optuna().samplers.RandomSampler(seed=seed)
