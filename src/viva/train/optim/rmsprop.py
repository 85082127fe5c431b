"""RMSProp: Hinton 2012, lecture 6e; with momentum as in Graves 2013."""

import torch
from pydantic import Field
from torch import nn

from viva.base.config import Config as Base
from viva.train.optim import groups, trainable


class Config(Base):
    """`alpha` is the memory of the mean square."""

    alpha: float = Field(0.99, gt=0, lt=1)
    momentum: float = Field(0.0, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """torch's own; it has no fused kernel."""
        named = groups(trainable(model), self.weight_decay)
        return torch.optim.RMSprop(named, alpha=self.alpha, momentum=self.momentum, eps=self.eps)
