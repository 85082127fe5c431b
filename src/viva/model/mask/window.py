"""Sliding window: a token sees at most the last `width` tokens (Beltagy et al. 2020; Mistral, Jiang et al. 2023)."""

from dataclasses import dataclass

from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask


@dataclass(frozen=True)
class Window(Mask):
    """query - key < width, in slots; it looks backward alone and is combined with Causal."""

    relative = True

    width: int

    def __post_init__(self):
        if self.width < 1:
            raise Refusal("a window must have at least one slot", self.width, "widen it, or leave the mask out")

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries[..., None] - keys < self.width
