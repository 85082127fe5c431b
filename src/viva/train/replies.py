"""Replies as what a model reads and learns: each a document behind its prompt, of which its own tokens are targets."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from viva.align.reply import Reply
from viva.model.whole import Whole
from viva.train.batch import Batch
from viva.train.branched import branched, can_branch, together
from viva.train.loss import IGNORE
from viva.train.loss.log_probs import log_probs
from viva.train.precision import Precision
from viva.train.reading import Reading


def laid(replies: Sequence[Reply], pad: int, branch: bool = False) -> Batch:
    """The batch of these replies, end to end in one row; or, for a model that can `branch`, with the prompt that some
    share read once for them.
    """
    if branch and len(groups := together(replies)) < len(replies):
        return branched(groups, pad)
    whole = [np.array([*reply.prompt.ids, *reply.ids]) for reply in replies]
    targets = [ids[1:].copy() for ids in whole]
    for aims, reply in zip(targets, replies, strict=True):
        aims[: len(reply.prompt.ids) - 1] = IGNORE
    ids = Reading.laid([[each[:-1] for each in whole]], pad)
    return Batch(ids, Reading.laid([targets], IGNORE), (tuple(len(each) - 1 for each in whole),))


def states(model: Whole, batch: Batch) -> Tensor:
    """The head's states [M, E] of the places where a token is to be predicted."""
    hidden = model.hidden(batch.ids, batch.layout)
    return model.head.states(hidden[batch.targets >= 0])


def in_parts(replies: Sequence[Reply], size: int, pad: int, branch: bool = False) -> Iterator[Batch]:
    """The batches of the replies, `size` at a time."""
    return (laid(replies[at : at + size], pad, branch) for at in range(0, len(replies), size))


@torch.no_grad()
def logs_of(
    model: Whole, replies: Sequence[Reply], temperature: float, size: int, pad: int, precision: Precision
) -> list[Tensor]:
    """The log-probabilities [n] of the tokens of each reply, in nats, by the forward pass of training, `size` replies
    at a time.
    """
    found = []
    for batch in in_parts(replies, size, pad, can_branch(model)):
        with precision.autocast():
            batch = batch.to(precision.device)
            hidden, targets, head = states(model, batch), batch.targets[batch.targets >= 0], model.head
            found.append(log_probs(hidden, model.head_weight, targets, head.bias, head.cap, temperature))
    return list(torch.cat(found).split([len(reply.ids) for reply in replies]))
