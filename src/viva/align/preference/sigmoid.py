"""DPO (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, eq. 7): the reward beta log p / p_ref of the chosen
answer is above that of the rejected one with the probability that Bradley and Terry (1952) give.
"""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from viva.align.preference import Answers, Base


class Config(Base):
    """`beta`: how much a nat away from the reference counts. `smoothing`: the share of pairs that are believed to be
    the wrong way round (conservative DPO, Mitchell 2023, https://ericmitchell.ai/cdpo.pdf).

    With m = r(chosen) - r(rejected), r = beta log p / p_ref, the loss is -(1 - e) log s(m) - e log s(-m), s the
    logistic function and e the smoothing. By hand: beta 0.1 and ratios 2 and -1 give m = 0.3 and, with e = 0,
    log(1 + exp(-0.3)) = 0.55435524.
    """

    beta: float = Field(0.1, gt=0)
    smoothing: float = Field(0.0, ge=0, lt=0.5)

    def loss(self, chosen: Answers, rejected: Answers) -> Tensor:
        margin = self.reward(chosen) - self.reward(rejected)
        return -(1 - self.smoothing) * logsigmoid(margin) - self.smoothing * logsigmoid(-margin)

    def reward(self, answers: Answers) -> Tensor:
        return self.beta * answers.ratio
