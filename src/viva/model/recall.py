"""Segment recurrence (Dai et al. 2019, Transformer-XL, https://arxiv.org/abs/1901.02860, section 3.2): the states of
the segment before, which the next one attends to and no gradient flows into.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from viva.base.errors import Refusal


class Segment(NamedTuple):
    """One pass: the states `before` it, layer by layer, and those it leaves, `after`. Passing a layer twice does the
    same twice, which recomputing activations relies on.
    """

    length: int
    before: dict[int, Tensor]
    after: dict[int, Tensor]

    def extend(self, layer: int, x: Tensor) -> Tensor:
        """x [B, T, E] behind what is remembered, [B, M + T, E]; its end is remembered for the next segment."""
        before = self.before.get(layer)
        whole = x if before is None else torch.cat((before, x), 1)
        self.after[layer] = whole[:, -self.length :].detach()
        return whole


class Recall:
    """The last `length` inputs of each layer's attention, [B, M, E] with M <= length; `held` is M."""

    ragged = False

    def __init__(self, length: int):
        if length < 1:
            raise Refusal("a recall must keep at least one state", length, "leave recall out to keep none")
        self.length, self.held = length, 0
        self._before: dict[int, Tensor] = {}
        self._after: dict[int, Tensor] = {}

    def require(self, layers: set[int], rows: int, width: int, dtype: torch.dtype) -> None:
        """Refuse to go on by another model, of which these are the layers that attend, or in other rows."""
        if not self._before:
            return
        states = next(iter(self._before.values()))
        wide, kept = states.shape[2], states.dtype
        if self._before.keys() != layers or wide != width or torch.promote_types(kept, dtype) != dtype:
            theirs = f"the states of {len(self._before)} layers, {wide} wide in {kept}"
            found = f"{theirs}, beside {len(layers)}, {width} wide in {dtype}"
            raise Refusal("a recall must be of the model that reads", found, "begin with a new Recall")
        if len(states) != rows:
            found = f"{rows} rows behind {len(states)}"
            raise Refusal("segments must be of as many rows as those before", found, "begin with a new Recall")

    def segment(self) -> Segment:
        """What the next pass reads and writes."""
        self._after = {}
        return Segment(self.length, self._before, self._after)

    def advance(self, T: int) -> None:
        """Count T more tokens; called once a pass, after the last layer."""
        self.held = min(self.length, self.held + T)
        self._before = self._after

    def pick(self, rows: list[int]) -> None:
        """Make rows[i] the new row i, for any rows, repeated ones too."""
        self._before = {layer: states[rows] for layer, states in self._before.items()}
