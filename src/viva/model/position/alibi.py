"""ALiBi (Press et al. 2022, https://arxiv.org/abs/2108.12409): a score falls with the distance, by a slope a head."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout
from viva.model.position import Scheme, distances


class Config(BaseConfig):
    """No fields: the slopes are a geometric sequence from 2^(-8/H) to 2^-8 (section 3)."""

    acts_on: ClassVar[tuple[str, ...]] = ("attention",)
    by_place: ClassVar[bool] = False
    extrapolates: ClassVar[bool] = True

    def within(self, attention: BaseConfig, context: int) -> Scheme:
        return Alibi(attention.heads)


class Alibi(Scheme):
    """-slope |key - query|; the paper's models are causal, where this is slope (key - query)."""

    biased = True

    def __init__(self, heads: int):
        super().__init__()
        self.slopes = slopes(heads)

    def table(self, layout: Layout) -> Tensor:
        """The bias [B or 1, H, T, S]."""
        distance = distances(layout)[:, None].abs()
        return -distance * torch.tensor(self.slopes, device=distance.device)[:, None, None]

    def bias(self, q: Tensor, k: Tensor, table: Tensor) -> Tensor:
        return table[..., : q.shape[2], : k.shape[2]]


def slopes(heads: int) -> list[float]:
    """One a head; where H is no power of two, every other slope of twice as many heads fills up (the authors' code).

    >>> slopes(2)
    [0.0625, 0.00390625]
    """
    whole = 2 ** math.floor(math.log2(heads))
    first = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    return first + (slopes(2 * whole)[0::2][: heads - whole] if heads > whole else [])
