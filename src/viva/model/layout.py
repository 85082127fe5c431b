"""Where each token of a batch stands: the batch describes itself, and masks and positions follow from that."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.errors import Refusal


@dataclass(frozen=True)
class Layout:
    """The places of the T tokens of each of B rows.

    `places` [B or 1, T]: the slot of a token in its row, cached tokens counted. `positions` [B or 1, T]: its place in
    its document. `end`: the largest position plus one. `documents`: the lengths of the documents packed into each row,
    T in all, or None when a row is one document. `aligned`: whether every row begins at the same slot.
    """

    places: Tensor
    positions: Tensor
    end: int
    documents: tuple[tuple[int, ...], ...] | None = None
    aligned: bool = True

    @staticmethod
    def one_document(T: int, start: int | Tensor = 0, device: torch.device | str = "cpu") -> "Layout":
        """Rows of one document each; `start` is the number of tokens already cached, one for all or [B]."""
        if isinstance(start, int):
            places = torch.arange(start, start + T, device=device)[None]
            return Layout(places, places, start + T)
        places = start[:, None] + torch.arange(T, device=device)
        return Layout(places, places, int(start.max()) + T, aligned=False)

    @staticmethod
    def packed(documents: tuple[tuple[int, ...], ...], T: int, device: torch.device | str = "cpu") -> "Layout":
        """Rows of several documents; what is left of a row, its padding, counts as a document of its own."""
        documents = tuple(_filled(row, T) for row in documents)
        lengths = torch.tensor([n for row in documents for n in row])
        starts = lengths.cumsum(0) - lengths
        places = torch.arange(T)[None]
        flat = torch.arange(len(documents) * T) - starts.repeat_interleave(lengths)
        positions = flat.view(len(documents), T).to(device)
        return Layout(places.to(device), positions, int(lengths.max()), documents)


def _filled(row: tuple[int, ...], T: int) -> tuple[int, ...]:
    if sum(row) > T or min(row, default=1) < 1:
        raise Refusal(f"the documents of a row must fill at most {T} tokens", f"lengths {row}", "pack fewer into a row")
    rest = T - sum(row)
    return (*row, rest) if rest else tuple(row)
