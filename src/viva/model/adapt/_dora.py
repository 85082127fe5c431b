"""Weight-decomposed low-rank adaptation (Liu et al. 2024, https://arxiv.org/abs/2402.09353, eq. 5):
W' = m (W + s B A) / |W + s B A|, the norm taken of each row, the weights that make one output.
"""

import torch
from torch import Tensor, nn

from viva.model.adapt._low_rank import LowRank
from viva.model.adapt._pieces import Piece
from viva.model.linear.dense import linear


class Directed(LowRank):
    """x [..., in], y = W x + c [..., out] -> y + (g - 1) W x + g s B A x, where g = m / |W + s B A| [out].

    m begins as |W|. The norm is taken for a constant in the backward pass (section 4.3), and dropout falls on the x of
    what is added alone.
    """

    def __init__(self, rank: int, scale: float, dropout: float, piece: Piece, seed: int):
        super().__init__(rank, scale, dropout, piece, seed)
        self.m = nn.Parameter(_norms(piece.weight.detach()))

    def forward(self, x: Tensor, y: Tensor, piece: Piece) -> Tensor:
        weight, bias, kept = piece.weight, piece.bias, self.dropout(x)
        g = self._gain(weight).to(y.dtype)
        plain = linear(kept, weight) if kept is not x else y if bias is None else y - bias.to(y.dtype)
        return y + (g - 1) * plain + g * (self.scale * linear(linear(kept, self.a), self.b))

    def _gain(self, weight: Tensor) -> Tensor:
        with torch.no_grad():
            norms = _norms(super().merged(weight, None)[0])
        return self.m / norms

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self._gain(weight)[:, None] * super().merged(weight, bias)[0], bias


def _norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=1)
