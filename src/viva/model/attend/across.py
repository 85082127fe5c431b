"""Attention to another sequence: each document of a batch to the one at its place among the others."""

from torch import Tensor

from viva.model.attend import Weighing, dense, packed
from viva.model.layout import Layout
from viva.model.mask.document import Document
from viva.model.mask.full import Full
from viva.model.mask.padding import Padding


def attend(q: Tensor, k: Tensor, v: Tensor, own: Layout, other: Layout, how: Weighing) -> Tensor:
    """q [B, H, T, D], laid out as `own` says, k and v [B, G, S, D], as `other` says -> [B, H, T, D]."""
    if own.documents is None:  # a row is one document, and so is what it attends to
        mask = Full() if other.documents is None else Padding(tuple(map(sum, other.lengths)))
        return dense.attend(q, k, v, mask, own.places, False, how)
    others = other.documents or ((k.shape[2],),) * k.shape[0]
    filled = any(own.padding) or any(other.padding)
    if own.split and not filled:
        return packed.attend(q, k, v, Full(), packed.plan(own.documents, others, q.device), how)
    return dense.attend(q, k, v, Document(own.documents, others), own.places, False, how)
