"""Where each token of a batch stands: the batch describes itself, and masks and positions follow from that."""

from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask, require_mask
from viva.model.mask.document import Lengths
from viva.model.mask.padding import Padding


@dataclass(frozen=True)
class Layout:
    """The places of the T tokens of each of B rows.

    `places` [B or 1, T]: the slot of a token in its row, cached tokens counted. `positions` [B or 1, T]: its place in
    its document. `end`: the largest position plus one. `documents`: the lengths of the documents packed into each row,
    T in all, or None when a row is one document; what `padding` counts of the last ones is empty room. `aligned`:
    whether every row begins at the same slot. `mask`: who sees whom, in place of what the model says (causal, or
    everything); it hides keys, but which tokens are real `documents` alone say. `whole`: rows are attended as they lie,
    not document by document. `before`: how many tokens of each document of the one row are cached, where they go on.
    """

    places: Tensor
    positions: Tensor
    end: int
    documents: Lengths | None = None
    aligned: bool = True
    mask: Mask | None = None
    whole: bool = False
    padding: tuple[bool, ...] = ()
    before: tuple[int, ...] = ()

    @property
    def split(self) -> bool:
        """Whether documents may be taken out of their rows and attended side by side."""
        return self.documents is not None and not self.whole and (self.mask is None or self.mask.relative)

    @property
    def lengths(self) -> Lengths:
        """Of the documents in each row, padding left out; of rows that are one document each, T."""
        self.require_told()
        if self.documents is None:
            return tuple((self.positions.shape[1],) for _ in self.positions)
        return tuple(row[:-1] if pad else row for row, pad in zip(self.documents, self.padding, strict=True))

    def require(self, B: int, T: int) -> None:
        """Refuse a layout, or a mask in it, that is not for B rows of T tokens. Costs no look at a tensor's numbers."""
        rows = {len(self.places), len(self.positions), 1 if self.mask is None else require_mask(self.mask).rows} - {1}
        rows |= set() if self.documents is None else {len(self.documents)}
        lengths = {self.places.shape[1], self.positions.shape[1]}
        if rows - {B} or lengths - {T}:
            listed = (" and ".join(map(str, sorted(numbers))) for numbers in (rows or {1}, lengths))
            found = "{} rows of {} tokens beside {} of {}".format(*listed, B, T)
            raise Refusal("a layout and its mask must be for the rows that are read", found, "make it for these")

    def take(self, rows: list[int]) -> "Layout":
        """The layout of these rows alone, in this order."""
        if self.mask is not None and not self.mask.relative:
            raise Refusal("rows with a mask of their own must stay together", f"rows {rows[:8]} alone", "keep them all")
        pick = lambda x: x if len(x) == 1 else x[rows]  # noqa: E731
        documents = self.documents and tuple(self.documents[row] for row in rows)
        padding = tuple(self.padding[row] for row in rows) if self.padding else ()
        places, positions = pick(self.places), pick(self.positions)
        return replace(self, places=places, positions=positions, documents=documents, padding=padding)

    def shared(self, B: int) -> "Layout":
        """The layout of B rows: itself, or where it is of one row, that row's for each."""
        if self.documents is None or len(self.documents) == B:
            return self
        return replace(self, documents=self.documents * B, padding=self.padding * B)

    @property
    def ends(self) -> Tensor:
        """[B or 1, T]: for each token the length of its document, or of its row, with what is cached."""
        if self.documents is None:
            return (self.positions[:, -1:] + 1).expand_as(self.positions)
        before = torch.tensor(self.before or 0)
        rows = [(before + torch.tensor(row)).repeat_interleave(torch.tensor(row)) for row in self.documents]
        return torch.stack(rows).to(self.positions.device)

    @property
    def real(self) -> Tensor | None:
        """[B, T]: which tokens are no padding; None where all are."""
        self.require_told()
        if not any(self.padding):
            return None
        ends = torch.tensor([sum(row) for row in self.lengths], device=self.positions.device)
        return torch.arange(self.positions.shape[1], device=ends.device) < ends[:, None]

    def require_told(self) -> None:
        """Refuse a mask that pads where it matters which tokens are real: such a mask is asked about keys alone."""
        if self.mask is not None and any(isinstance(part, Padding) for part in self.mask.atoms):
            must = "padding must be told by the documents of a layout where states are pooled, counted or read across"
            raise Refusal(
                must, "a mask that pads", "use Layout.packed with the lengths of the rows; it hides padding too"
            )

    @property
    def kept(self) -> int | Tensor:
        """How many tokens a cache holds after a first pass: T, or of each row [B] where some end in padding."""
        if odd := [len(row) for row in self.lengths if len(row) != 1]:
            fix = "give each its own row; those that end early are padded"
            raise Refusal("a row that is cached must be one document", "several" if max(odd) else "none", fix)
        filled = any(self.padding)
        return torch.tensor(self.lengths, device=self.places.device)[:, 0] if filled else self.places.shape[1]

    def spans(self, B: int, T: int) -> tuple[Tensor, Tensor]:
        """Where each of the N documents in B rows of T begins, the rows laid end to end, and its length: [N] and [N].

        Padding is left out, and with it a row that is nothing else. Rows of one document each may share one layout.
        """
        lengths = self.lengths * (B // len(self.lengths))
        counts = torch.tensor([n for row in lengths for n in row])
        row = torch.arange(B).repeat_interleave(torch.tensor([len(row) for row in lengths]))
        before = torch.tensor([start for row in lengths for start in list(accumulate(row, initial=0))[:-1]])
        return row * T + before, counts

    @staticmethod
    def one_document(T: int, start: int | Tensor = 0, device: torch.device | str = "cpu") -> "Layout":
        """Rows of one document each; `start` is the number of tokens already cached, one for all or [B]."""
        if isinstance(start, int):
            places = torch.arange(start, start + T, device=device)[None]
            return Layout(places, places, start + T)
        places = start[:, None] + torch.arange(T, device=device)
        return Layout(places, places, int(start.max()) + T, aligned=False)

    @staticmethod
    def packed(documents: Lengths, T: int, device: torch.device | str = "cpu", mask: Mask | None = None) -> "Layout":
        """Rows of several documents; what is left of a row, its padding, counts as a document of its own.

        A row may be padding alone, but not all rows.
        """
        if not any(documents):
            raise Refusal("a batch must hold a document", f"{len(documents)} rows of none", "leave the batch out")
        padding = tuple(sum(row) < T for row in documents)
        documents = tuple(_filled(row, T) for row in documents)
        lengths = torch.tensor([n for row in documents for n in row])
        starts = lengths.cumsum(0) - lengths
        places = torch.arange(T)[None]
        flat = torch.arange(len(documents) * T) - starts.repeat_interleave(lengths)
        ends = [i == len(row) - 1 and pad for row, pad in zip(documents, padding, strict=True) for i in range(len(row))]
        # padding has no place beyond the first, so that no table need reach as far as it does
        flat = flat.masked_fill(torch.tensor(ends).repeat_interleave(lengths), 0)
        positions = flat.view(len(documents), T).to(device)
        real = [n for row, pad in zip(documents, padding, strict=True) for n in (row[:-1] if pad else row)]
        return Layout(places.to(device), positions, max(real), documents, mask=mask, padding=padding)

    @staticmethod
    def continued(lengths: tuple[int, ...], before: tuple[int, ...], device: torch.device | str = "cpu") -> "Layout":
        """One row of documents that each go on behind tokens of their own: so many new ones behind so many cached."""
        spans = zip(before, lengths, strict=True)
        positions = torch.cat([torch.arange(start, start + n) for start, n in spans])[None].to(device)
        end = max(start + n for start, n in zip(before, lengths, strict=True))
        return Layout(positions, positions, end, (lengths,), aligned=False, padding=(False,), before=before)


def _filled(row: tuple[int, ...], T: int) -> tuple[int, ...]:
    if min(row, default=1) < 1:
        raise Refusal("a document of a row must have at least one token", f"lengths {row}", "leave the others out")
    if sum(row) > T:
        raise Refusal(f"the documents of a row must fill at most {T} tokens", f"lengths {row}", "pack fewer into a row")
    rest = T - sum(row)
    return (*row, rest) if rest else tuple(row)
