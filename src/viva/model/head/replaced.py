"""ELECTRA's head (Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 3.2): was this token replaced?"""

from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.activation import ACTIVATIONS, Activation
from viva.model.layout import Layout
from viva.model.linear.dense import Linear


class Config(BaseConfig):
    """`activation` stands behind the dense layer."""

    activation: Activation = "gelu"

    def build(self, spec: BaseConfig) -> nn.Module:
        return Replaced(self, spec.width)


class Replaced(nn.Module):
    """[B, T, E] -> log-odds [B, T] that a token is not the original: w . act(h D + d) + b."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.dense, self.out = Linear(width, width), Linear(width, 1)
        self.act = ACTIVATIONS[config.activation]

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        return self.out(self.act(self.dense(hidden)))[..., 0]
