"""Relative positions of Transformer-XL (Dai et al. 2019, https://arxiv.org/abs/1901.02860, section 3.3): sinusoids of
the distance, projected to each head, and two learned queries.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import dropout

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout
from viva.model.linear.dense import Linear
from viva.model.position import Scheme, distances
from viva.model.position.sinusoidal import sinusoids


class Config(BaseConfig):
    """The sinusoids have the width of all heads together. Distances beyond `farthest` count as that; `dropout` falls on
    the sinusoids (both from the authors' code).
    """

    acts_on: ClassVar[tuple[str, ...]] = ("attention",)
    by_place: ClassVar[bool] = False
    extrapolates: ClassVar[bool] = True

    farthest: int | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)

    def within(self, attention: BaseConfig, context: int) -> Scheme:
        return XL(self, attention.heads, attention.head_dim, attention.score.scaling(attention.head_dim))


class XL(Scheme):
    """With R the sinusoids of query - key, the score of the paper's four terms (a) to (d) is
    ((q + u) k + (q + v) W R) times the score's own scale, there 1 / sqrt(D); all but q k is the bias. W, u and v are
    each layer's own.
    """

    shared, biased = False, True

    def __init__(self, config: Config, heads: int, head_dim: int, scale: float):
        super().__init__()
        self.config, self.heads, self.scale = config, heads, scale
        self.project = Linear(heads * head_dim, heads * head_dim, bias=False)
        self.u, self.v = (nn.Parameter(torch.zeros(heads, head_dim)) for _ in range(2))

    def table(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """The sinusoids [n, E] of every distance there is, and which of them each pair [B or 1, T, S] has."""
        back = -distances(layout)
        first, last = (int(back.min()), int(back.max())) if back.numel() else (0, 0)  # where nothing is read
        farthest = last if self.config.farthest is None else self.config.farthest
        span = torch.arange(first, last + 1, device=back.device).clamp_max(farthest)
        waves = sinusoids(span, self.project.in_features, paired=False)
        return dropout(waves, self.config.dropout, self.training), back - first

    def bias(self, q: Tensor, k: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
        waves, numbers = table
        R = self.project(waves.to(q.dtype)).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [H, n, D]
        of_key = (self.u[:, None] * k).sum(-1)[:, :, None]  # [B, H, 1, S]
        of_place = (q + self.v[:, None]) @ R.mT  # [B, H, T, n]
        numbers = numbers[:, None, : q.shape[2], : k.shape[2]].expand(*q.shape[:2], -1, -1)
        return (of_key + of_place.gather(-1, numbers)) * self.scale
