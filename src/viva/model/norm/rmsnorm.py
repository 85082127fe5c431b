"""RMSNorm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467, eq. 4): scaled by the root mean square alone."""

from torch import nn

from viva.base.config import Config as BaseConfig


class Config(BaseConfig):
    """`eps` is added to the mean square."""

    eps: float = 1e-6

    def build(self, width: int) -> nn.Module:
        return nn.RMSNorm(width, eps=self.eps)
