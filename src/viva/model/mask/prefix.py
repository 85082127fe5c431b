"""A prefix that is seen from everywhere, itself included, before text that is seen left to right: prefix-LM (Dong et
al. 2019; Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.2.1).
"""

from dataclasses import dataclass

from torch import Tensor

from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.padding import Padding, require_not_negative


@dataclass(frozen=True)
class Prefix(Mask):
    """key <= query, or key < length of its row's prefix."""

    lengths: tuple[int, ...]

    def __post_init__(self):
        require_not_negative(self.lengths, "prefixes")

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return (Causal() | Padding(self.lengths)).allows(queries, keys)
