"""Packing: documents that share a row do not see each other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask, end, require_rows
from viva.model.mask.padding import are_counts

Lengths = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Document(Mask):
    """Same document; `lengths` are those of the documents of each row, in order, filling it.

    `others` are those of the rows that the keys come from, where that is another sequence: the n-th document of the one
    sees the n-th of the other. Asked of all the keys of a row at once.
    """

    lengths: Lengths
    others: Lengths | None = None

    def __post_init__(self):
        sides = (self.lengths,) if self.others is None else (self.lengths, self.others)
        for side in sides:
            _require_by_row(side)
        if len({len(side) for side in sides}) > 1:
            found, fix = f"{len(self.others)} beside {len(self.lengths)}", "give the documents of each row of both"
            raise Refusal("documents must be told of as many rows as attend to them", found, fix)
        for side in sides:
            _require_filled(side)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        seen = self.others or self.lengths
        if len(keys) != sum(seen[0]):
            found = f"{sum(seen[0])} tokens in rows of {len(keys)}"
            fix = "give the lengths of all documents of a row, padding too"
            raise Refusal("the documents of a mask must fill its rows", found, fix)
        require_rows(self, queries)
        own, last = sum(self.lengths[0]), end(queries) - 1
        if last >= own:
            found, fix = f"{own} tokens, and one at place {last}", "give the lengths of all its documents"
            raise Refusal("the documents of a mask must hold the tokens that attend", found, fix)
        rows = max(len(self.lengths), len(queries))
        of_query = _numbers(self.lengths, keys.device).expand(rows, -1).gather(1, queries.expand(rows, -1))
        return of_query[..., None] == _numbers(seen, keys.device)[:, None, keys]


def _require_by_row(lengths: Lengths) -> None:
    """Refuse lengths that are not told row by row."""
    if not isinstance(lengths, list | tuple) or not all(map(are_counts, lengths)):
        fix = "give for example ((5, 3), (8,)) for two rows of 8 tokens"
        raise Refusal("the documents of a mask must be told row by row, in whole numbers", f"{lengths!r:.80}", fix)


def _require_filled(lengths: Lengths) -> None:
    """Refuse rows of several lengths, or none, and a document of no token."""
    if empty := [n for row in lengths for n in row if n < 1]:
        raise Refusal("a document of a mask must have at least one token", min(empty), "leave it out")
    if len(sums := {sum(row) for row in lengths}) != 1:
        found = " and ".join(map(str, sorted(sums))) or "no row"
        fix = "count what is left of a row as its last document"
        raise Refusal("the documents of a mask must fill rows of one length", found, fix)


def _numbers(lengths: Lengths, device: torch.device) -> Tensor:
    """[B, T]: the number of each token's document in its row."""
    rows = [torch.arange(len(row)).repeat_interleave(torch.tensor(row)) for row in lengths]
    return torch.stack(rows).to(device)
