"""Left to right: a token sees itself and what came before it (Vaswani et al. 2017, section 3.2.3)."""

from dataclasses import dataclass

from torch import Tensor

from viva.model.mask import Mask


@dataclass(frozen=True)
class Causal(Mask):
    """key <= query."""

    relative = True

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return keys <= queries[..., None]
