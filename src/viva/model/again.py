"""Tensors that training computes again rather than keeps (Chen et al. 2016, https://arxiv.org/abs/1604.06174).

An output that is one pass over what is kept anyway, such as a norm of the residual stream, says how it is made. A
layer that needs it in the backward pass keeps that instead.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Again(NamedTuple):
    """`make(*of)` gives the tensor, bit for bit."""

    make: Callable[..., Tensor]
    of: tuple[Tensor, ...]


def cheap(y: Tensor, make: Callable[..., Tensor], *of: Tensor) -> Tensor:
    """Mark `y` as what `make(*of)` gives; returns it."""
    y.again = Again(make, of)
    return y
