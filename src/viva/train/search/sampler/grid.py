"""Every combination, once each, in an order that is shuffled."""

from typing import Any

from viva.base.config import Config as Base
from viva.train.search import optuna
from viva.train.search.plan import Plan


class Config(Base):
    """No fields. A range must have a `step`, or be of whole numbers."""

    def build(self, plan: Plan, seed: int) -> Any:
        sampler = optuna().samplers.GridSampler(plan.grid(), seed=0)  # one order for all trials
        sampler.after_trial = lambda *given: None  # it would stop a loop of Optuna's own, and there is none
        return sampler
