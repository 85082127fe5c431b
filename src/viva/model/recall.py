"""Segment recurrence (Dai et al. 2019, Transformer-XL, https://arxiv.org/abs/1901.02860, section 3.2): the states of
the segment before, which the next one attends to and no gradient flows into.
"""

import torch
from torch import Tensor


class Recall:
    """The last `length` inputs of each layer's attention, [B, M, E] with M <= length."""

    def __init__(self, length: int):
        self.length, self.held = length, 0
        self._states: dict[int, Tensor] = {}

    def extend(self, layer: int, x: Tensor) -> Tensor:
        """x [B, T, E] behind what is remembered, [B, M + T, E]; its end is remembered for the next segment."""
        before = self._states.get(layer)
        whole = x if before is None else torch.cat((before, x), 1)
        self._states[layer] = whole[:, -self.length :].detach()
        return whole

    def advance(self, T: int) -> None:
        """Count T more tokens; called once a pass, after the last layer."""
        self.held = min(self.length, self.held + T)
