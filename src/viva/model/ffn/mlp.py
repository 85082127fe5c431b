"""The feed-forward network of the original Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, eq.
2).
"""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.activation import ACTIVATIONS, Activation, unchanged
from viva.model.linear.dense import Linear


class Config(BaseConfig):
    """`hidden` is F; GPT-2 uses gelu_tanh, the original relu. `dropout` falls on the F numbers in between (T5)."""

    hidden: int = Field(gt=0)
    activation: Activation = "gelu_tanh"
    bias: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, width: int) -> nn.Module:
        return MLP(self, width)


class MLP(nn.Module):
    """y = act(x W_up) W_down."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.up = Linear(width, config.hidden, bias=config.bias)
        self.down = Linear(config.hidden, width, bias=config.bias)
        self.act = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.dropout) if config.dropout else unchanged

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(self.act(self.up(x))))
