"""Additive scores (Bahdanau et al. 2015, https://arxiv.org/abs/1409.0473, appendix A.1.2): v^T tanh(W s + U h)."""

import torch
from torch import Tensor, nn

from viva.model.score import Base, Score


class Config(Base):
    """No fields: W and U are the query and key projections of the attention, v [D] is one a head."""

    def build(self, head_dim: int, heads: int) -> Score:
        return Additive(head_dim, heads)


class Additive(Score):
    """v^T tanh(q + k); v begins as 1 / sqrt(D), so that a score's size does not depend on D."""

    def __init__(self, head_dim: int, heads: int):
        super().__init__()
        self.v = nn.Parameter(torch.full((heads, head_dim), head_dim**-0.5))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        mixed = torch.tanh(q[..., :, None, :] + k[..., None, :, :])  # [B, H, T, S, D]
        return torch.einsum("bhtsd,hd->bhts", mixed, self.v)
