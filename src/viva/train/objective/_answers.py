"""What a batch of answers to prompts asks of a model: how likely each answer is to it, as a whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from viva.align.preference import Answers
from viva.train.batch import Batch
from viva.train.loss.log_probs import log_probs, through_log_probs
from viva.train.replies import states

EVERY = slice(None)


@dataclass(frozen=True)
class Spoken:
    """The learned tokens of a batch, document after document: what they are [n], and of each document how many."""

    targets: Tensor
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch) -> "Spoken":
        learned = batch.targets >= 0
        if batch.spoken:
            return cls(batch.targets[learned], batch.spoken)
        rows = zip(learned, batch.lengths, strict=True)
        counts = [part.sum() for row, lengths in rows for part in row[: sum(lengths)].split(lengths)]
        return cls(batch.targets[learned], tuple(torch.stack(counts).tolist()))

    def answers(self, logs: Tensor, reference: Tensor | None = None, some: slice = EVERY) -> Answers:
        """What the log-probabilities of tokens come to for `some` of the documents, whose tokens these are; `reference`
        holds those of all documents.
        """
        lengths = self.lengths[some]
        whole = torch.stack([part.sum() for part in logs.split(lengths)])
        return Answers(whole, torch.tensor(lengths, device=logs.device), None if reference is None else reference[some])


def told(model: nn.Module, batch: Batch, spoken: Spoken) -> Tensor:
    """The log-probability of each document's learned tokens, [documents] in nats, without gradient."""
    with torch.no_grad():
        head, hidden = model.head, states(model, batch)
        return spoken.answers(log_probs(hidden, model.head_weight, spoken.targets, head.bias, head.cap)).logs


def through(
    model: nn.Module, batch: Batch, spoken: Spoken, groups: Sequence[int], loss: Callable[[int, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The sum of `loss(group, log-probabilities)` over groups of learned tokens, and the log-probability of each of
    these tokens, [n], without gradient (`through_log_probs`).
    """
    head, hidden = model.head, states(model, batch)
    return through_log_probs(hidden, model.head_weight, spoken.targets, groups, loss, head.bias, head.cap)
