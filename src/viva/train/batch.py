"""A batch that describes itself: what is read, what is to be predicted, and where each document lies."""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from viva.model.layout import Layout
from viva.train.loss import IGNORE


@dataclass(frozen=True)
class Batch:
    """ids and targets [B, T], targets IGNORE where nothing is learned; `lengths`: of the documents in each row."""

    ids: Tensor
    targets: Tensor
    lengths: tuple[tuple[int, ...], ...]

    @cached_property
    def count(self) -> int:
        """How many tokens are learned."""
        return int((self.targets != IGNORE).sum())

    @cached_property
    def tokens(self) -> int:
        """How many tokens are read, padding left out."""
        return sum(map(sum, self.lengths))

    @cached_property
    def layout(self) -> Layout:
        """Where each token stands, for positions and masks."""
        return Layout.packed(self.lengths, self.ids.shape[1], self.ids.device)

    def to(self, device: str) -> "Batch":
        """The same batch on another device."""
        return replace(self, ids=self.ids.to(device), targets=self.targets.to(device))
