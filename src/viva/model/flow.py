"""What one pass carries past every layer."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from viva.model.cache import Cache
from viva.model.layout import Layout


@dataclass(frozen=True)
class Flow:
    """The layout of the batch, the cache if there is one, and for each layer how its queries and keys are turned."""

    layout: Layout
    cache: Cache | None
    turns: tuple[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None, ...]
