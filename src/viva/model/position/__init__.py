"""How a model knows order, one file a variant.

A scheme acts in one of two places, which its Config names in `acts_on`. On "embeddings" (learned, sinusoidal)
`Config.build(width, context)` gives a module, and module(layout) is a tensor [B, T, E] to add. On "attention" (rope,
t5, alibi, shaw, xl) `Config.within(attention, context)` gives a `Scheme`. `none` gives None in both.

A Config's `by_place` says that a token is told by the place it is said to have (`Layout.positions`), which states of a
segment before have not; other schemes tell by how far apart two slots are. `extrapolates` says whether a model can be
expected to read texts four times as long as it was trained on no worse (measured by
tests/learns/test_extrapolation.py). One that depends on the attention's window says `by_window`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from viva.model.layout import Layout


class Scheme(nn.Module):
    """What a scheme may do inside attention. One that is not `shared` has parameters of its own in every layer."""

    shared = True
    biased = False  # adds to scores
    valued = False  # adds to what is read

    def table(self, layout: Layout) -> Any:
        """What a pass needs, made once for all layers alike, and so without the numbers that are each layer's own."""
        return None

    def turn(self, q: Tensor, k: Tensor, table: Any) -> tuple[Tensor, Tensor]:
        """Change q [B, T, H, D] and k [B, T, G, D] by their places."""
        return q, k

    def bias(self, q: Tensor, k: Tensor, table: Any) -> Tensor:
        """What is added to the scores of q [B, H, T, D] and k [B, H, S, D]; broadcasts to [B, H, T, S]."""
        raise NotImplementedError

    def read(self, weights: Tensor, table: Any) -> Tensor:
        """What is added to weights [B, H, T, S] times values: [B, H, T, D]."""
        raise NotImplementedError


class Placed(NamedTuple):
    """A scheme with its table for this pass."""

    scheme: Scheme
    table: Any


def distances(layout: Layout) -> Tensor:
    """key - query, [B or 1, T, S] for the slots of whole rows; of rows that are split, those of the longest document,
    of which each shorter one uses the upper left corner.
    """
    if layout.split:
        end = max(map(max, layout.documents))
        queries = torch.arange(end, device=layout.places.device)[None]
    else:
        queries, end = layout.places, layout.places.shape[1] if layout.documents else layout.end
    return torch.arange(end, device=queries.device) - queries[..., None]
