"""No mask: every token sees every other, as in an encoder."""

from dataclasses import dataclass

from torch import Tensor

from viva.model.mask import Mask, everything


@dataclass(frozen=True)
class Full(Mask):
    """Everything is allowed."""

    relative = True

    @property
    def parts(self) -> tuple[Mask, ...]:
        return ()

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        return everything(queries, keys)
