"""Tensors that training computes again rather than keeps (Chen et al. 2016, https://arxiv.org/abs/1604.06174).

An output that is one pass over what is kept anyway, such as a norm of the residual stream, says how it is made. A
layer that needs it in the backward pass keeps that instead.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Again(NamedTuple):
    """`make(*of)` gives the tensor, bit for bit, as long as nothing is written into it: it has then still `version`."""

    make: Callable[..., Tensor]
    of: tuple[Tensor, ...]
    version: int


def cheap(y: Tensor, make: Callable[..., Tensor], *of: Tensor) -> Tensor:
    """Mark `y` as what `make(*of)` gives; returns it."""
    y.again = Again(make, of, y._version)
    return y


def mark(y: Tensor) -> Again | None:
    """How `y` is made, if it says so and was not written into since."""
    again = getattr(y, "again", None)
    return again if again is not None and again.version == y._version else None
