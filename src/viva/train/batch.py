"""A batch that describes itself: what is read, what is to be predicted, and where each document lies."""

from dataclasses import dataclass, replace
from functools import cached_property

from torch import Tensor

from viva.model.layout import Layout
from viva.model.mask import Mask
from viva.model.mask.document import Lengths
from viva.train.loss import IGNORE


@dataclass(frozen=True)
class Source:
    """What an encoder reads for a decoder: ids [B, S], and the lengths of the documents in each row."""

    ids: Tensor
    lengths: Lengths

    @cached_property
    def layout(self) -> Layout:
        """Where each token stands."""
        return Layout.packed(self.lengths, self.ids.shape[1], self.ids.device)


@dataclass(frozen=True)
class Batch:
    """ids [B, T] and `lengths` of the documents in each row. `targets` are a class each for the tokens [B, T], IGNORE
    where nothing is learned, or for the documents [N] the number of each's partner; floats [N] where each has a class
    or a value, all of which are learned.

    `source` is what the decoder's documents answer, one for each; `segments` [B, T] tell two texts of a document apart;
    `mask` says who sees whom where that is not the model's own; `positions` [B, T] where they are not the places in the
    document. `done` is the share of the run that is behind, for what grows in training. `answers` is how many targets
    there are where these are not tokens but what tokens make up, such as pairs of answers; `labels` [N] are what the
    documents were judged to be. `spoken` is how many targets each answer has, in their order, where a document holds
    several. `seeds` are for what is drawn for a row, one each, or for a document where they lie end to end in one row;
    `draw` for what is drawn once an update.
    """

    ids: Tensor
    targets: Tensor
    lengths: Lengths
    source: Source | None = None
    segments: Tensor | None = None
    mask: Mask | None = None
    positions: Tensor | None = None
    done: float = 1.0
    answers: int | None = None
    labels: Tensor | None = None
    spoken: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()
    draw: int = 0

    @cached_property
    def count(self) -> int:
        """How many targets are learned."""
        if self.answers is not None:
            return self.answers
        return len(self.targets) if self.targets.is_floating_point() else int((self.targets != IGNORE).sum())

    @cached_property
    def tokens(self) -> int:
        """How many tokens are read, padding left out."""
        return sum(map(sum, self.lengths)) + (sum(map(sum, self.source.lengths)) if self.source else 0)

    @cached_property
    def layout(self) -> Layout:
        """Where each token stands, for positions and masks."""
        layout = Layout.packed(self.lengths, self.ids.shape[1], self.ids.device, self.mask)
        if self.positions is None:
            return layout
        return replace(layout, positions=self.positions, end=int(self.positions.max()) + 1)

    def first_row(self) -> "Batch":
        """The first row alone, if rows can be told apart; else the whole batch."""
        if len(self.lengths) == 1 or self.mask is not None or self.source is not None:
            return self
        cut = {name: x[:1] for name, x in vars(self).items() if isinstance(x, Tensor) and len(x) == len(self.lengths)}
        return replace(self, **cut, lengths=self.lengths[:1], seeds=self.seeds[:1])

    def to(self, device: str) -> "Batch":
        """The same batch on another device."""
        moved = {name: tensor.to(device) for name, tensor in vars(self).items() if isinstance(tensor, Tensor)}
        if self.source is not None:
            moved["source"] = replace(self.source, ids=self.source.ids.to(device))
        return replace(self, **moved)
