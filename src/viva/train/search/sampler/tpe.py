"""Bayesian: more of what was among the best so far, by tree-structured Parzen estimators (Bergstra et al. 2011)."""

from typing import Any

from pydantic import NonNegativeInt

from viva.base.config import Config as Base
from viva.train.search import optuna
from viva.train.search.plan import Plan


class Config(Base):
    """`startup`: trials that are drawn at random first. Settings are weighed together, not each by itself."""

    startup: NonNegativeInt = 10

    def build(self, plan: Plan, seed: int) -> Any:
        return optuna().samplers.TPESampler(seed=seed, n_startup_trials=self.startup, multivariate=True)
