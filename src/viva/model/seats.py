"""Rows in which virtual tokens stand before each document: where they stand, and where its own tokens do."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.layout import Layout
from viva.model.mask.document import Lengths


@dataclass(frozen=True)
class Seats:
    """Rows of T' slots made of B rows of T tokens, P virtual ones before each of N documents.

    `layout` is that of the new rows. `into` [B T']: the token in each slot, at a virtual one the first of its document;
    `virtual` [N P]: the slots of these; `own` [B T]: the slot of each token. What fills up a row repeats its first.
    """

    layout: Layout
    into: Tensor
    virtual: Tensor
    own: Tensor

    def spread(self, x: Tensor) -> Tensor:
        """[B, T, ...] -> [B, T', ...]."""
        return x.flatten(0, 1)[self.into].unflatten(0, (len(x), -1))

    def fill(self, x: Tensor, vectors: Tensor) -> Tensor:
        """x [B, T', ...] with `vectors` [P, ...] in the virtual slots of each document."""
        documents = len(self.virtual) // len(vectors)
        repeated = vectors.to(x.dtype).repeat(documents, *[1] * (vectors.ndim - 1))
        return x.flatten(0, 1).index_copy(0, self.virtual, repeated).view(x.shape)

    def collect(self, x: Tensor) -> Tensor:
        """[B, T', ...] -> [B, T, ...], the virtual slots left out."""
        return x.flatten(0, 1)[self.own].unflatten(0, (len(x), -1))


def seats(layout: Layout, B: int, T: int, P: int) -> Seats:
    """Those of B rows of T tokens that `layout` describes; refused: a mask that speaks of slots, which move."""
    if layout.mask is not None and not layout.mask.relative:
        fix = "leave the mask out, or merge or leave out the adapter"
        raise Refusal("a mask must be of distances where virtual tokens stand before a text", "one of places", fix)
    lengths = layout.lengths * (B // len(layout.lengths))
    into, virtual, own = _slots(lengths, T, P, layout.places.device)
    width = len(into) // B
    positions = layout.positions.expand(B, T).flatten()[into] + P
    positions[virtual] = torch.arange(P, device=into.device).repeat(len(virtual) // P)
    wider = replace(
        layout,
        places=torch.arange(width, device=into.device)[None],
        positions=positions.view(B, width)[: len(layout.positions)],
        end=layout.end + P,
        documents=layout.documents and tuple(_documents(row, P, width) for row in lengths),
        padding=tuple(_filled(row, P) < width for row in lengths) if layout.documents else (),
    )
    return Seats(wider, into, virtual, own)


def _filled(row: tuple[int, ...], P: int) -> int:
    return sum(row) + P * len(row)


def _documents(row: tuple[int, ...], P: int, width: int) -> tuple[int, ...]:
    """The lengths of a row's documents with what stands before them, and what is left of the row."""
    rest = width - _filled(row, P)
    return (*(P + n for n in row), *((rest,) if rest else ()))


@lru_cache(maxsize=8)  # of rows alike, such as those of an evaluation
@torch.inference_mode(False)  # what a text was read with, one that is learned may be read with next
def _slots(lengths: Lengths, T: int, P: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`into`, `virtual` and `own`."""
    width = max(_filled(row, P) for row in lengths)
    rows = torch.arange(len(lengths))
    into, own = (rows * T).repeat_interleave(width), (rows * width).repeat_interleave(T)
    virtual = []
    for row, documents in enumerate(lengths):
        token, slot = row * T, row * width
        for n in documents:
            into[slot : slot + P] = token
            slot += P
            virtual.append(torch.arange(slot - P, slot))
            into[slot : slot + n] = torch.arange(token, token + n)
            own[token : token + n] = torch.arange(slot, slot + n)
            token, slot = token + n, slot + n
    return into.to(device), torch.cat(virtual).to(device), own.to(device)
