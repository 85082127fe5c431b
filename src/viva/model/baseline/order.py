"""The tokens of packed documents in the order in which recurrent cells read them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from viva.model.layout import Layout


@dataclass(frozen=True)
class Order:
    """First every document's first token, the longest document first, then every second token, and so on.

    `places` [n]: where in the rows, laid end to end, each of the n tokens stands; padding is not among them. `sizes`:
    how many documents have a first token, a second, ... `longest` [N]: the documents' numbers by length, `back` [N]:
    the place of each in that.
    """

    places: Tensor
    sizes: Tensor
    longest: Tensor
    back: Tensor

    def apart(self, x: Tensor) -> PackedSequence:
        """Tokens [B, T, E] as documents that do not touch."""
        return PackedSequence(x.flatten(0, 1)[self.places], self.sizes, self.longest, self.back)

    def together(self, y: PackedSequence, B: int, T: int) -> Tensor:
        """What came of them as rows [B, T, E] again, 0 where padding is."""
        rows = y.data.new_zeros(B * T, y.data.shape[-1])
        return rows.index_copy(0, self.places, y.data).unflatten(0, (B, T))


def order(layout: Layout, B: int, T: int, device: torch.device) -> Order:
    """The order of the documents in B rows of T tokens."""
    starts, counts = layout.spans(B, T)
    return _order(tuple(starts.tolist()), tuple(counts.tolist()), device)


@lru_cache(maxsize=8)  # encoder and decoder, or the steps of a generation, ask again for the same
@torch.inference_mode(False)  # what is made while generating must serve in training too
def _order(starts: tuple[int, ...], counts: tuple[int, ...], device: torch.device) -> Order:
    starts, counts = torch.tensor(starts), torch.tensor(counts)
    longest = counts.argsort(descending=True, stable=True)
    steps = torch.arange(int(counts.max()))[:, None]
    inside = steps < counts[longest]  # [longest, N]
    places = (starts[longest] + steps)[inside]
    return Order(places.to(device), inside.sum(1), longest.to(device), longest.argsort().to(device))
