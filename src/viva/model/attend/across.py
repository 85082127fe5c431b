"""Attention to another sequence: each document of a batch to the one at its place among the others."""

from torch import Tensor

from viva.base.errors import Refusal
from viva.model.attend import Weighing, dense, packed
from viva.model.layout import Layout
from viva.model.mask.document import Document
from viva.model.mask.full import Full
from viva.model.mask.padding import Padding


def attend(q: Tensor, k: Tensor, v: Tensor, own: Layout, other: Layout, how: Weighing) -> Tensor:
    """q [B, H, T, D], laid out as `own` says, k and v [B or 1, G, S, D], as `other` says -> [B, H, T, D].

    Each row must have as many documents on both sides. Keys of one row are those of every row.
    """
    B = len(q)
    other.require_told()
    other, k, v = other.shared(B), k.expand(B, -1, -1, -1), v.expand(B, -1, -1, -1)
    _require_partners(own, other, B)
    if own.documents is None:  # a row is one document, and so is what it attends to
        mask = Full() if other.documents is None else Padding(tuple(map(sum, other.lengths)))
        return dense.attend(q, k, v, mask, own.places, False, how)
    others = other.documents or ((k.shape[2],),) * B
    filled = any(own.padding) or any(other.padding)
    if own.split and not filled:
        return packed.attend(q, k, v, Full(), own.documents, others, how)
    return dense.attend(q, k, v, Document(own.documents, others), own.places, False, how)


def _require_partners(own: Layout, other: Layout, B: int) -> None:
    counts = [_counts(layout, B) for layout in (own, other)]
    if counts[0] != counts[1]:
        row = next(i for i, pair in enumerate(zip(*counts, strict=True)) if len(set(pair)) > 1)
        found = f"{counts[0][row]} beside {counts[1][row]} in row {row}"
        fix = "lay out the source and what is read from it alike"
        raise Refusal("each document must have the one it attends to at its place in the other rows", found, fix)


def _counts(layout: Layout, B: int) -> list[int]:
    """How many documents each row has."""
    return [1] * B if layout.documents is None else [len(row) for row in layout.lengths]
