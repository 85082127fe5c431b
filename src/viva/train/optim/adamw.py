"""Adam with decoupled weight decay: Loshchilov & Hutter 2019."""

import torch
from pydantic import Field
from torch import nn

from viva.base.config import Config as Base
from viva.train.optim import Beta, groups, trainable


class Config(Base):
    """`betas` of the first and second moment; `weight_decay` a step is multiplied by the rate."""

    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.1, ge=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The fused kernel: one pass over memory for each tensor."""
        named = groups(trainable(model), self.weight_decay)
        return torch.optim.AdamW(named, betas=self.betas, eps=self.eps, fused=True)
