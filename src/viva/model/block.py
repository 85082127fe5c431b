"""The one block: attention and a feed-forward network, each inside a residual connection."""

from collections.abc import Callable

from torch import Tensor, nn

from viva.model.attention import Attention
from viva.model.flow import Flow
from viva.model.spec import Block as Spec


def pre(x: Tensor, norm: nn.Module, add: Callable[[Tensor], Tensor]) -> Tensor:
    """x + f(norm(x)) (Xiong et al. 2020, https://arxiv.org/abs/2002.04745, table 1)."""
    return x + add(norm(x))


def post(x: Tensor, norm: nn.Module, add: Callable[[Tensor], Tensor]) -> Tensor:
    """norm(x + f(x)) (Vaswani et al. 2017, section 3.1)."""
    return norm(x + add(x))


def unchanged(y: Tensor) -> Tensor:
    """A dropout of 0, without the cost of a module at every token."""
    return y


RESIDUAL = {"pre": pre, "post": post}


class Block(nn.Module):
    """x [B, T, E] -> [B, T, E]."""

    def __init__(self, spec: Spec, width: int):
        super().__init__()
        self.residual = RESIDUAL[spec.norm_at]
        self.attention_norm = spec.norm.build(width)
        self.attention = Attention(spec.attention, width)
        self.ffn_norm = spec.norm.build(width)
        self.ffn = spec.ffn.build(width)
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else unchanged

    def forward(self, x: Tensor, flow: Flow, layer: int) -> Tensor:
        x = self.residual(x, self.attention_norm, lambda y: self.dropout(self.attention(y, flow, layer)))
        return self.residual(x, self.ffn_norm, lambda y: self.dropout(self.ffn(y)))
