"""The cosine of query and key, times a fixed number (Graves et al. 2014, https://arxiv.org/abs/1410.5401, eq. 5-6)."""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from viva.model.score import Base, Score


class Config(Base):
    """`scale` sharpens: the softmax of cosines alone, which lie in [-1, 1], is nearly uniform."""

    scale: float = Field(10.0, gt=0)

    def build(self, head_dim: int, heads: int) -> Score:
        return Cosine(self.scale)


class Cosine(Score):
    """scale * q k^T / (|q| |k|)."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return (normalize(q, dim=-1) * self.scale) @ normalize(k, dim=-1).mT

    def fused(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float]:
        return normalize(q, dim=-1), normalize(k, dim=-1), self.scale
