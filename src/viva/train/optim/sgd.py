"""Stochastic gradient descent with momentum: Sutskever et al. 2013."""

import torch
from pydantic import Field
from torch import nn

from viva.base.config import Config as Base
from viva.train.optim import groups, trainable


class Config(Base):
    """`momentum` 0 is plain descent; `nesterov` looks ahead along it."""

    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(0.0, ge=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The fused kernel: one pass over memory for each tensor."""
        named = groups(trainable(model), self.weight_decay)
        return torch.optim.SGD(named, momentum=self.momentum, nesterov=self.nesterov, fused=True)
