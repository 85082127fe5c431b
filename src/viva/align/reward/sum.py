"""The weighted sum of several rewards."""

from typing import Self

from pydantic import Field, model_validator

from viva.align.reward import Base, Judge, Setting, judged
from viva.base.choice import Choice


class Config(Base):
    """rewards: of any kind; weights: one for each."""

    rewards: tuple[Choice("viva.align.reward"), ...] = Field(min_length=1)
    weights: tuple[float, ...]

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if len(self.rewards) != len(self.weights):
            raise ValueError(f"must have a weight for each of {len(self.rewards)} rewards, but has {len(self.weights)}")
        return self

    def build(self, setting: Setting) -> Judge:
        judges = [reward.build(setting) for reward in self.rewards]

        def weighed(replies):
            each = [judged(judge, replies) for judge in judges]
            return [sum(w * r for w, r in zip(self.weights, of_one, strict=True)) for of_one in zip(*each, strict=True)]

        return weighed
