"""ORPO (Hong et al. 2024, https://arxiv.org/abs/2403.07691, eqs. 4 to 7): the chosen answer is imitated, and its
odds are raised over those of the rejected one, in one loss without a reference.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from viva.align.preference import Answers, Base


class Config(Base):
    """`weight` is the paper's lambda, that of the odds ratio beside the cross-entropy of the chosen answer.

    With log P the mean log-probability of an answer's tokens, the loss is

        -log P(chosen) - weight log s(o(chosen) - o(rejected)),    o = log(P / (1 - P)), s the logistic function.

    By hand: P = 1/2 and 1/3 have odds 1 and 1/2, so with weight 0.1 it is log 2 + 0.1 log(1 + 1/2) = 0.73369369.
    """

    compares: ClassVar[bool] = False

    weight: float = Field(0.1, gt=0)

    def loss(self, chosen: Answers, rejected: Answers) -> Tensor:
        return -chosen.mean - self.weight * logsigmoid(self.reward(chosen) - self.reward(rejected))

    def reward(self, answers: Answers) -> Tensor:
        """The logarithm of the odds."""
        return answers.mean - _log_of_rest(answers.mean)


def _log_of_rest(logs: Tensor) -> Tensor:
    """log(1 - e^x) of x < 0, by expm1 near 0 and log1p far from it (Maechler 2012, eq. 7); certainty stays finite."""
    logs = logs.clamp_max(-torch.finfo(logs.dtype).eps)
    near = logs > -math.log(2)
    # each branch is given only what it is exact for: a gradient that is not taken must be finite too
    by_expm1 = (-logs.masked_fill(~near, -1.0).expm1()).log()
    by_log1p = (-logs.masked_fill(near, -1.0).exp()).log1p()
    return torch.where(near, by_expm1, by_log1p)
