"""Adam: Kingma & Ba 2015, algorithm 1."""

import torch
from pydantic import Field
from torch import nn

from viva.base.config import Config as Base
from viva.train.optim import Beta, trainable


class Config(Base):
    """`betas` of the first and second moment. Without weight decay: that is what adamw is for."""

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The fused kernel: one pass over memory for each tensor."""
        return torch.optim.Adam(trainable(model), betas=self.betas, eps=self.eps, fused=True)
