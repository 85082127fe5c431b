"""Blocks: a row is cut into blocks of one size, and a token sees those of its own (Qiu et al. 2020,
https://arxiv.org/abs/1911.02972, with the identity as its permutation).
"""

from dataclasses import dataclass

from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask


@dataclass(frozen=True)
class Block(Mask):
    """query // size == key // size, in slots."""

    size: int

    def __post_init__(self):
        if self.size < 1:
            raise Refusal("a block must have at least one slot", self.size, "widen it, or leave the mask out")

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return keys // self.size == queries[..., None] // self.size
