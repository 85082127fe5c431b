"""Log-n scaling (Su 2021, https://kexue.fm/archives/8823; Chiang and Cholak 2022, https://arxiv.org/abs/2202.12172,
section 5.3): queries grow with the logarithm of how much they see, so that attention stays as sharp as it was trained.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout
from viva.model.mask.document import Document
from viva.model.mask.full import Full
from viva.model.mask.window import Window
from viva.model.position import Scheme
from viva.model.position import rope as rotary


class Config(BaseConfig):
    """`rope`, and beyond the length `trained` the query that sees n tokens times log(n) / log(trained)."""

    acts_on: ClassVar[tuple[str, ...]] = ("attention",)
    by_place: ClassVar[bool] = True
    by_window: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False  # without a scaling of the angles

    trained: int = Field(2048, gt=1)
    rope: rotary.Config = rotary.Config()

    def within(self, attention: BaseConfig, context: int) -> Scheme:
        return LogN(self.rope.within(attention, context), self.trained, attention)


class LogN(Scheme):
    """A turn, and a factor for each query."""

    def __init__(self, rope: Scheme, trained: int, attention: BaseConfig):
        super().__init__()
        self.rope, self.trained = rope, trained
        self.causal, self.window = attention.causal, attention.window

    def table(self, layout: Layout) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """The turn's own, and the factors [B or 1, T, 1, 1], in fp32."""
        seen = self.seen(layout).clamp_min(self.trained).float()
        return self.rope.table(layout), (seen.log() / math.log(self.trained))[..., None, None]

    def seen(self, layout: Layout) -> Tensor:
        """[B or 1, T]: how many tokens each query sees."""
        if layout.mask is not None:  # which attention writes out too
            document = Document(layout.documents) if layout.documents else Full()
            mask = layout.mask & document & (Window(self.window) if self.window else Full())
            keys = torch.arange(int(layout.places.max()) + 1, device=layout.places.device)
            return mask.allows(layout.places, keys).sum(-1)
        if not self.causal:
            return layout.ends
        seen = layout.positions + 1
        return seen if self.window is None else seen.clamp_max(self.window)

    def turn(self, q: Tensor, k: Tensor, table: tuple[tuple[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        angles, factor = table
        q, k = self.rope.turn(q, k, angles)
        return q * factor.to(q.dtype), k
