"""LayerNorm (Ba et al. 2016, https://arxiv.org/abs/1607.06450, eq. 3-4): centred and scaled to unit variance."""

from pydantic import Field
from torch import nn

from viva.base.config import Config as BaseConfig


class Config(BaseConfig):
    """`eps` is added to the variance; `bias` adds the learned offset of the paper."""

    eps: float = Field(1e-5, gt=0)
    bias: bool = True

    def build(self, width: int) -> nn.Module:
        return nn.LayerNorm(width, eps=self.eps, bias=self.bias)
