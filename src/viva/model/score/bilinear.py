"""A learned bilinear form, q^T W k ("general", Luong et al. 2015, https://arxiv.org/abs/1508.04025, eq. 8)."""

import torch
from torch import Tensor, nn

from viva.model.score import Base, Score


class Config(Base):
    """No fields: one W [D, D] a query head."""

    def build(self, head_dim: int, heads: int) -> Score:
        return Bilinear(head_dim, heads)


class Bilinear(Score):
    """q^T W k, with W [H, D, D] beginning as 1 / sqrt(D) times the identity: the scaled dot product."""

    def __init__(self, head_dim: int, heads: int):
        super().__init__()
        self.weight = nn.Parameter((torch.eye(head_dim) * head_dim**-0.5).repeat(heads, 1, 1))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ self.weight @ k.mT

    def fused(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        return q @ self.weight, k, 1.0
