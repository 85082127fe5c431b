"""T5's relative positions (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 2.1): a number a head for each
bucket of distances, added to the scores.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.layout import Layout
from viva.model.position import Scheme, distances


class Config(BaseConfig):
    """Half of the `buckets` hold one distance each, the others grow with the logarithm up to `farthest`, and one holds
    all beyond. Where attention sees both ways, half of them are for keys that follow. `farthest` lies beyond the
    distances that have a bucket each: half of the buckets, or a quarter both ways.
    """

    acts_on: ClassVar[tuple[str, ...]] = ("attention",)
    by_place: ClassVar[bool] = False
    extrapolates: ClassVar[bool] = False  # weights thin out over keys beyond the farthest, which look alike

    buckets: int = Field(32, ge=4)
    farthest: int = Field(128, ge=2)

    def within(self, attention: BaseConfig, context: int) -> Scheme:
        exact = self.exact(attention.causal)
        if self.farthest <= exact:
            must = "farthest of t5 positions must be above the distances that have a bucket each"
            found = f"{self.farthest} where {exact} of {self.buckets} buckets are for one distance each"
            raise Refusal(must, found, f"set farthest to {exact + 1} or more, or choose fewer buckets")
        return Buckets(self, attention.heads, attention.causal)

    def exact(self, causal: bool) -> int:
        """How many buckets hold one distance each, of those for one direction."""
        return (self.buckets if causal else self.buckets // 2) // 2


class Buckets(Scheme):
    """One table [buckets, H] for all layers."""

    biased = True

    def __init__(self, config: Config, heads: int, causal: bool):
        super().__init__()
        self.config, self.causal = config, causal
        self.bucket = nn.Embedding(config.buckets, heads)

    def table(self, layout: Layout) -> Tensor:
        """The bias [B or 1, H, T, S]."""
        return self.bucket(self.buckets(distances(layout))).permute(0, 3, 1, 2)

    def bias(self, q: Tensor, k: Tensor, table: Tensor) -> Tensor:
        return table[..., : q.shape[2], : k.shape[2]]

    def buckets(self, distance: Tensor) -> Tensor:
        """The number of the bucket of each distance, key - query."""
        count, first = self.config.buckets, 0
        if self.causal:
            back = (-distance).clamp_min(0)
        else:
            count, back = count // 2, distance.abs()
            first = (distance > 0) * count
        exact = self.config.exact(self.causal)
        growth = (back.clamp_min(1) / exact).log() / math.log(self.config.farthest / exact)
        beyond = (exact + (growth * (count - exact)).long()).clamp_max(count - 1)
        return first + torch.where(back < exact, back, beyond)
