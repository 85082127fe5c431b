"""Functions of single numbers that give each the same bits wherever it stands.

torch computes a run of numbers several at a time in a vector's lanes, and what is left at its end by another formula,
which can differ in the last bit. Where a run ends follows from how many numbers there are and how threads share them.
In `rowwise` each row is filled up to whole vectors, and no more is computed at once than one thread takes.
"""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor
from torch.nn.functional import pad

from viva.base.product import ROWWISE, exact

LANES = 32  # fp32 numbers: two vectors of 512 bits, which torch's loops take at a time
GRAIN = 2**14  # numbers beyond which torch shares some functions out among threads, others beyond 2**15

Elementwise = Callable[[Tensor], Tensor]


def alike(function: Elementwise) -> Elementwise:
    """`function`, of which in `rowwise` no number depends on what stands beside it (tests/base/test_rowwise.py)."""

    @wraps(function)
    def computed(x: Tensor) -> Tensor:
        if not (ROWWISE.get() and exact(x)):
            return function(x)
        width = x.shape[-1]
        if width % LANES == 0 and x.numel() <= GRAIN:
            return function(x)
        rows = x.reshape(-1, width)
        rows = pad(rows, (0, -width % LANES)) if width % LANES else rows
        parts = rows.split(max(1, GRAIN // rows.shape[-1]))
        return torch.cat([function(part) for part in parts])[:, :width].reshape(x.shape)

    return computed
