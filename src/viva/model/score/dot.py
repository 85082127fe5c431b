"""Dot product (Luong et al. 2015), scaled by 1 / sqrt(D) in the Transformer (Vaswani et al. 2017, section 3.2.1)."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from viva.model.score import Base, Score

Positive = Annotated[float, Field(gt=0)]


class Config(Base):
    """`scale`: "sqrt" is 1 / sqrt(D), else a number above 0; 1 is none (T5, which has it in its starting weights).

    `cap` bounds a score softly: cap * tanh(score / cap) (Gemma 2, Riviere et al. 2024, section 2).
    """

    scale: Literal["sqrt"] | Positive = "sqrt"
    cap: float | None = Field(None, gt=0)

    def scaling(self, head_dim: int) -> float:
        return super().scaling(head_dim) if self.scale == "sqrt" else self.scale

    def build(self, head_dim: int, heads: int) -> Score:
        return Dot(self.scaling(head_dim), self.cap)


class Dot(Score):
    """scale * q k^T."""

    def __init__(self, scale: float, cap: float | None):
        super().__init__()
        self.scale, self.cap = scale, cap

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        scores = (q * self.scale) @ k.mT
        return scores if self.cap is None else self.cap * torch.tanh(scores / self.cap)

    def fused(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float] | None:
        return (q, k, self.scale) if self.cap is None else None
