"""Relative positions of Shaw et al. 2018 (https://arxiv.org/abs/1803.02155): a learned vector for each distance, added
to keys (eq. 4) and to values (eq. 3).
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout
from viva.model.position import Scheme, distances


class Config(BaseConfig):
    """Distances beyond `farthest` count as that. `values` leaves out the vectors of eq. 3 where false."""

    acts_on: ClassVar[tuple[str, ...]] = ("attention",)
    by_place: ClassVar[bool] = False
    extrapolates: ClassVar[bool] = False  # weights thin out over keys beyond the farthest, which look alike

    farthest: int = Field(16, ge=1)
    values: bool = True

    def within(self, attention: BaseConfig, context: int) -> Scheme:
        return Shaw(self, attention.head_dim, attention.score.scaling(attention.head_dim))


class Shaw(Scheme):
    """Scores gain q a^K times the score's own scale, 1 / sqrt(D) in the paper; what is read gains sum(weights a^V). The
    vectors are shared by heads, not layers.
    """

    shared, biased = False, True

    def __init__(self, config: Config, head_dim: int, scale: float):
        super().__init__()
        self.scale = scale
        self.farthest, self.valued = config.farthest, config.values
        self.keys = nn.Embedding(2 * config.farthest + 1, head_dim)
        self.values = nn.Embedding(2 * config.farthest + 1, head_dim) if config.values else None

    def table(self, layout: Layout) -> Tensor:
        """The number of each distance's vector, [B or 1, T, S]."""
        return distances(layout).clamp(-self.farthest, self.farthest) + self.farthest

    def bias(self, q: Tensor, k: Tensor, table: Tensor) -> Tensor:
        every = q @ self.keys.weight.T * self.scale  # [B, H, T, 2 farthest + 1]
        numbers = table[:, None, : q.shape[2], : k.shape[2]]
        return every.gather(-1, numbers.expand(*q.shape[:2], -1, -1))

    def read(self, weights: Tensor, table: Tensor) -> Tensor:
        numbers = table[:, None, : weights.shape[2], : weights.shape[3]].expand_as(weights)
        at = weights.new_zeros(*weights.shape[:3], self.values.num_embeddings)
        return at.scatter_add(-1, numbers, weights) @ self.values.weight
