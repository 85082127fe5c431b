"""The product of two thin matrices beside a frozen one: y = W x + s B A x (Hu et al. 2021, section 4.1)."""

import torch
from torch import Tensor, nn

from viva.model.activation import unchanged
from viva.model.adapt._pieces import Piece
from viva.model.linear.dense import linear


class LowRank(nn.Module):
    """x [..., in], y = W x [..., out] -> y + s B A x.

    A [r, in] begins uniform in +-1 / sqrt(in), B [out, r] as zeros, so that the model begins as its base.
    """

    def __init__(self, rank: int, scale: float, dropout: float, piece: Piece, seed: int):
        super().__init__()
        like, bound = piece.weight, piece.inside**-0.5
        generator = torch.Generator().manual_seed(seed)
        self.a = nn.Parameter(torch.empty(rank, piece.inside).uniform_(-bound, bound, generator=generator).to(like))
        self.b = nn.Parameter(like.new_zeros(piece.outside, rank))
        self.scale = scale
        self.dropout = nn.Dropout(dropout) if dropout else unchanged

    def forward(self, x: Tensor, y: Tensor, piece: Piece) -> Tensor:
        return torch.add(y, linear(linear(self.dropout(x), self.a), self.b), alpha=self.scale)

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weight and the bias of the one map that computes the same."""
        return weight + self.scale * (self.b @ self.a), bias
