"""Gated feed-forward networks (Shazeer 2020, https://arxiv.org/abs/2002.05202, eq. 6): with silu this is SwiGLU."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.activation import Activation, gated, unchanged
from viva.model.linear.dense import Linear
from viva.model.linear.joined import Joined


class Config(BaseConfig):
    """`hidden` is F; silu gives SwiGLU (LLaMA, Mistral, Qwen), gelu GEGLU. `dropout` falls on the F numbers
    between (T5).
    """

    hidden: int = Field(gt=0)
    activation: Activation = "silu"
    bias: bool = False
    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, width: int) -> nn.Module:
        return GLU(self, width)


class GLU(nn.Module):
    """y = (act(x W_gate) * x W_up) W_down."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.gate_up = Joined(width, {"gate": config.hidden, "up": config.hidden}, bias=config.bias)
        self.down = Linear(config.hidden, width, bias=config.bias)
        self.activation = config.activation
        self.dropout = nn.Dropout(config.dropout) if config.dropout else unchanged

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(gated(self.activation, *self.gate_up(x))))
