"""IPO (Azar et al. 2023, https://arxiv.org/abs/2310.12036, eq. 17): a difference that is aimed at and not
passed, so that pairs which are all one way do not drive the model off the reference.
"""

from pydantic import Field
from torch import Tensor

from viva.align.preference import Answers, Base


class Config(Base):
    """`beta` is the paper's tau: the weight of the divergence from the reference. With `mean`, ratios are means over
    the tokens of each answer, so that length does not count; without, sums, as the paper writes them.

    The loss is (h - 1 / (2 beta))^2, h the difference of the two ratios log p / p_ref. By hand: beta 0.1, ratios 2 of 4
    tokens and -1 of 2 tokens give h = 0.5 + 0.5 = 1 and (1 - 5)^2 = 16; without `mean` (3 - 5)^2 = 4.
    """

    beta: float = Field(0.1, gt=0)
    mean: bool = True

    def loss(self, chosen: Answers, rejected: Answers) -> Tensor:
        # beta h is the difference of rewards
        return ((self.reward(chosen) - self.reward(rejected)) / self.beta - 1 / (2 * self.beta)).square()

    def reward(self, answers: Answers) -> Tensor:
        ratio = answers.ratio / answers.lengths if self.mean else answers.ratio
        return self.beta * ratio
