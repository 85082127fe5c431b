"""The one block: attention, to its own sequence, to another or to both, and a feed-forward network, each inside a
residual connection.
"""

from collections.abc import Callable

from torch import Tensor, nn

from viva.model.activation import unchanged
from viva.model.attention import Attention
from viva.model.flow import Flow
from viva.model.norm import told
from viva.model.spec import Block as Spec

Add = Callable[[Tensor], Tensor]


def pre(x: Tensor, norm: nn.Module, after: nn.Module | None, add: Add) -> Tensor:
    """x + f(norm(x)) (Xiong et al. 2020, https://arxiv.org/abs/2002.04745, table 1)."""
    return x + add(norm(x))


def post(x: Tensor, norm: nn.Module, after: nn.Module | None, add: Add) -> Tensor:
    """norm(x + f(x)) (Vaswani et al. 2017, section 3.1)."""
    return norm(x + add(x))


def sandwich(x: Tensor, norm: nn.Module, after: nn.Module | None, add: Add) -> Tensor:
    """x + norm'(f(norm(x))) (Ding et al. 2021, https://arxiv.org/abs/2105.13290, section 2.3)."""
    return x + after(add(norm(x)))


RESIDUAL = {"pre": pre, "post": post, "sandwich": sandwich}


class Block(nn.Module):
    """x [B, T, E] -> [B, T, E]."""

    def __init__(self, spec: Spec, width: int, context: int, recalls: bool = False):
        super().__init__()
        self.residual = RESIDUAL[spec.norm_at]
        after = lambda: spec.norm.build(width) if spec.norm_at == "sandwich" else None  # noqa: E731
        self.attention = self.cross = None
        if spec.attention is not None:
            self.attention_norm, self.attention_after = spec.norm.build(width), after()
            self.attention = Attention(spec.attention, width, context, apart=recalls)
        if spec.cross is not None:
            self.cross_norm, self.cross_after = spec.norm.build(width), after()
            self.cross = Attention(spec.cross, width, context, apart=True)
        self.ffn_norm, self.ffn_after = spec.norm.build(width), after()
        self.ffn = spec.ffn.build(width)
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else unchanged
        rate = spec.dropout if spec.ffn_dropout is None else spec.ffn_dropout
        self.ffn_dropout = nn.Dropout(rate) if rate else unchanged

    def forward(self, x: Tensor, flow: Flow, layer: int) -> Tensor:
        add, drop, real = self.residual, self.dropout, flow.real
        if self.attention is not None:
            norms = told(real, self.attention_norm, self.attention_after)
            x = add(x, *norms, lambda y: drop(self.attention(y, flow, layer)))
        if self.cross is not None:
            norms = told(real, self.cross_norm, self.cross_after)
            x = add(x, *norms, lambda y: drop(self.cross.across(y, flow, layer)))
        return add(x, *told(real, self.ffn_norm, self.ffn_after), lambda y: self.ffn_dropout(self.ffn(y)))
