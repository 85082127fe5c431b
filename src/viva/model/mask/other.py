"""Not itself: a token sees all but its own place, so that it cannot copy what it is to predict."""

from dataclasses import dataclass

from torch import Tensor

from viva.model.mask import Mask


@dataclass(frozen=True)
class Other(Mask):
    """key != query."""

    relative = True

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return keys != queries[..., None]
