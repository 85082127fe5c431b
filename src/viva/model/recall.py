"""Segment recurrence (Dai et al. 2019, Transformer-XL, https://arxiv.org/abs/1901.02860, section 3.2): the states of
the segment before, which the next one attends to and no gradient flows into.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Segment(NamedTuple):
    """One pass: the states `before` it, layer by layer, and those it leaves, `after`. Passing a layer twice does the
    same twice, which recomputing activations relies on.
    """

    length: int
    before: dict[int, Tensor]
    after: dict[int, Tensor]

    def extend(self, layer: int, x: Tensor) -> Tensor:
        """x [B, T, E] behind what is remembered, [B, M + T, E]; its end is remembered for the next segment."""
        whole = torch.cat((self.before[layer], x), 1) if layer in self.before else x
        self.after[layer] = whole[:, -self.length :].detach()
        return whole


class Recall:
    """The last `length` inputs of each layer's attention, [B, M, E] with M <= length; `held` is M."""

    def __init__(self, length: int):
        self.length, self.held = length, 0
        self._before: dict[int, Tensor] = {}
        self._after: dict[int, Tensor] = {}

    def segment(self) -> Segment:
        """What the next pass reads and writes."""
        self._after = {}
        return Segment(self.length, self._before, self._after)

    def advance(self, T: int) -> None:
        """Count T more tokens; called once a pass, after the last layer."""
        self.held = min(self.length, self.held + T)
        self._before = self._after
