"""What a batch of answers to prompts asks of a model: how likely each answer is to it, as a whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from viva.train.batch import Batch
from viva.train.loss.log_probs import log_probs, through_log_probs


@dataclass(frozen=True)
class Spoken:
    """The learned tokens of a batch, document after document: which of all they are [B * T], what they are [n], and of
    each document how many.
    """

    learned: Tensor
    targets: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch) -> "Spoken":
        learned = batch.targets >= 0
        counts = [
            part.sum() for row, lengths in zip(learned, batch.lengths, strict=True) for part in _split(row, lengths)
        ]
        return cls(learned.flatten(), batch.targets[learned], tuple(torch.stack(counts).tolist()))

    def whole(self, logs: Tensor) -> Tensor:
        """The sums over documents of what tokens have, [n] -> [documents]."""
        return torch.stack([part.sum() for part in logs.split(self.lengths)])


def _split(row: Tensor, lengths: Sequence[int]) -> tuple[Tensor, ...]:
    return row[: sum(lengths)].split(lengths)


def told(model: nn.Module, batch: Batch, spoken: Spoken) -> Tensor:
    """The log-probability of each document's learned tokens, [documents] in nats, without gradient."""
    with torch.no_grad():
        head, states = model.head, _states(model, batch, spoken)
        return spoken.whole(log_probs(states, model.head_weight, spoken.targets, head.bias, head.cap))


def through(
    model: nn.Module, batch: Batch, spoken: Spoken, groups: Sequence[int], loss: Callable[[int, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The sum of `loss(group, log-probabilities)` over groups of learned tokens (`through_log_probs`), and the
    log-probability of each document's learned tokens, [documents], without gradient.
    """
    head, states = model.head, _states(model, batch, spoken)
    total, logs = through_log_probs(states, model.head_weight, spoken.targets, groups, loss, head.bias, head.cap)
    return total, spoken.whole(logs)


def _states(model: nn.Module, batch: Batch, spoken: Spoken) -> Tensor:
    """What the head multiplies, of the places where a learned token is predicted, [n, E]: the others never reach it."""
    hidden = model.hidden(batch.ids, batch.layout)
    return model.head.states(hidden.flatten(0, -2)[spoken.learned])
