"""SimPO (Meng et al. 2024, https://arxiv.org/abs/2405.14734, eq. 6): the mean log-probability of an answer's tokens is
its reward, so no reference is needed and length earns nothing.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from viva.align.preference import Answers, Base


class Config(Base):
    """`beta` scales the reward; `margin` is the paper's gamma, by which the chosen answer is to be better at least.

    The loss is -log s(r(chosen) - r(rejected) - margin), r = beta log P, s the logistic function. By hand: beta 2,
    margin 1, means -1 and -2.5 give m = 3 - 1 = 2 and log(1 + exp(-2)) = 0.12692801.
    """

    compares: ClassVar[bool] = False

    beta: float = Field(2.0, gt=0)
    margin: float = Field(1.0, ge=0)

    def loss(self, chosen: Answers, rejected: Answers) -> Tensor:
        return -logsigmoid(self.reward(chosen) - self.reward(rejected) - self.margin)

    def reward(self, answers: Answers) -> Tensor:
        return self.beta * answers.mean
