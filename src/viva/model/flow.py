"""What one pass carries past every layer."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from viva.base.errors import Refusal
from viva.model.cache import Cache
from viva.model.layout import Layout
from viva.model.position import Placed
from viva.model.recall import Segment


class Memory(NamedTuple):
    """Another sequence to attend to: its states [B, S, E], and where each stands. One row is for all rows that attend.

    `last` is the state in which a recurrent encoder left each document, for a recurrent decoder to begin in.
    """

    states: Tensor
    layout: Layout
    last: tuple[Tensor, ...] | None = None

    def take(self, rows: list[int]) -> "Memory":
        """These rows alone, in this order; any rows, repeated ones too. What is one row for all stays so."""
        if len(self.states) == 1:
            return self
        if self.last is not None and self.last[0].shape[1] != len(self.states):
            must = "rows to go on from must be one document each"
            raise Refusal(
                must, f"{self.last[0].shape[1]} documents in {len(self.states)} rows", "give each its own row"
            )
        last = self.last and tuple(part[:, rows] for part in self.last)
        return Memory(self.states[rows], self.layout.take(rows), last)


@dataclass(frozen=True)
class Flow:
    """The layout of the batch and, for each layer, its scheme of positions; what is None is not there.

    `cache` holds the keys and values of tokens before these, `memory` is what cross-attention sees, `recall` the states
    of the segment before, and `weights` takes the attention weights of each layer that is a key of it. `real` is the
    layout's, for norms over the batch.
    """

    layout: Layout
    placed: tuple[Placed | None, ...]
    cache: Cache | None = None
    memory: Memory | None = None
    recall: Segment | None = None
    weights: dict[str, Tensor] | None = None
    real: Tensor | None = None
