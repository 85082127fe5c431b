"""A margin between the two answers (SLiC-HF, Zhao et al. 2023, https://arxiv.org/abs/2305.10425), of their ratios to a
reference (Liu et al. 2023, https://arxiv.org/abs/2309.06657, "hinge-norm").
"""

from pydantic import Field
from torch import Tensor

from viva.align.preference import Answers, Base


class Config(Base):
    """`beta`: how much a nat away from the reference counts; the margin is 1 / beta nats.

    The loss is max(0, 1 - m) with m = r(chosen) - r(rejected), r = beta log p / p_ref. By hand: beta 0.1 and ratios 2
    and -1 give 1 - 0.3 = 0.7; with beta 0.5, m = 1.5 and the loss is 0.
    """

    beta: float = Field(0.1, gt=0)

    def loss(self, chosen: Answers, rejected: Answers) -> Tensor:
        return (1 - (self.reward(chosen) - self.reward(rejected))).relu()

    def reward(self, answers: Answers) -> Tensor:
        return self.beta * answers.ratio
