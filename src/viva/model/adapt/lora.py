"""Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1): y = W x + s B A x, W frozen."""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.seed import derive
from viva.model.activation import unchanged
from viva.model.adapt import Base
from viva.model.adapt._pieces import Piece, Targets, change
from viva.model.linear.dense import linear


class Config(Base):
    """`rank` r of B A; s = `alpha` / r or, with `stabilised`, alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023,
    https://arxiv.org/abs/2312.03732, theorem 3.2). `targets`: the ends of the names of linear maps, such as
    `attention.q` or `ffn.up`, or regular expressions of whole names, such as `decoder.layers.[01].attention.q`.
    `dropout` falls on the x that A reads.
    """

    rank: int = Field(8, gt=0)
    alpha: float = Field(16.0, gt=0)
    targets: Targets = ("attention.q", "attention.v")
    dropout: float = Field(0.0, ge=0, lt=1)
    stabilised: bool = False

    @property
    def scale(self) -> float:
        """s."""
        return self.alpha / (math.sqrt(self.rank) if self.stabilised else self.rank)

    def attach(self, model: nn.Module, seed: int) -> None:
        change(model, self.targets, lambda name, piece: LowRank(self, piece, derive(seed, "adapter", name)))


class LowRank(nn.Module):
    """x [..., in], y = W x [..., out] -> y + s B A x.

    A begins uniform in +-1 / sqrt(in), B as zeros, so that the model begins as its base.
    """

    def __init__(self, config: Config, piece: Piece, seed: int):
        super().__init__()
        like = piece.weight
        bound = piece.inside**-0.5
        drawn = torch.empty(config.rank, piece.inside).uniform_(
            -bound, bound, generator=torch.Generator().manual_seed(seed)
        )
        self.a = nn.Parameter(drawn.to(like))
        self.b = nn.Parameter(like.new_zeros(piece.outside, config.rank))
        self.scale = config.scale
        self.dropout = nn.Dropout(config.dropout) if config.dropout else unchanged

    def forward(self, x: Tensor, y: Tensor, piece: Piece) -> Tensor:
        return torch.add(y, linear(linear(self.dropout(x), self.a), self.b), alpha=self.scale)

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weight and bias of the one map that computes the same."""
        return weight + self.scale * (self.b @ self.a).to(weight.dtype), bias
