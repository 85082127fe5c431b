"""Objectives, one a file: `Config.build()` gives a function of (model, batch) that returns a `Loss`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from viva.train.batch import Batch


@dataclass(frozen=True)
class Loss:
    """A sum over `count` tokens, for the loop to divide by the count of all batches; `metrics` are sums too."""

    sum: Tensor
    count: int
    metrics: dict[str, float] = field(default_factory=dict)


Objective = Callable[[nn.Module, Batch], Loss]
