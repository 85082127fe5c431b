"""Objectives, one a file: `Config.build()` gives a function of (model, batch) that returns a `Loss`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from viva.model.ffn.moe import auxiliary
from viva.train.batch import Batch


@dataclass(frozen=True)
class Loss:
    """A sum over `count` tokens, for the loop to divide by the count of all batches; `metrics` are sums too."""

    sum: Tensor
    count: int
    metrics: dict[str, float] = field(default_factory=dict)


def with_auxiliary(loss: Loss, model: nn.Module, batch: Batch) -> Loss:
    """The loss and those that the model itself adds in training, which are means over the batch's tokens."""
    added = auxiliary(model, batch.layout)
    measured = {name: value.item() * loss.count for name, value in added.items()}
    return Loss(loss.sum + loss.count * sum(added.values()), loss.count, loss.metrics | measured) if added else loss


Objective = Callable[[nn.Module, Batch], Loss]
