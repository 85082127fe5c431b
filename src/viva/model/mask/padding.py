"""Padding: keys behind the end of a row are no part of it."""

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.mask import Mask, require_rows


def are_counts(lengths: Any) -> bool:
    """Whether these are whole numbers in a row, and no tensor of them."""
    return isinstance(lengths, list | tuple) and all(isinstance(length, Integral) for length in lengths)


def require_not_negative(lengths: tuple[int, ...], of: str) -> None:
    """Refuse a length below 0, and what is not one length for each row."""
    if not are_counts(lengths):
        fix = "give for example (5, 3) for two rows"
        raise Refusal(f"the lengths of {of} must be a whole number for each", f"{lengths!r:.80}", fix)
    if min(lengths, default=0) < 0:
        raise Refusal(f"the lengths of {of} must be 0 or more", min(lengths), "count the tokens from the row's start")


@dataclass(frozen=True)
class Padding(Mask):
    """key < length; `lengths` are those of the rows, which are padded on the right."""

    lengths: tuple[int, ...]

    def __post_init__(self):
        require_not_negative(self.lengths, "rows")

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def allows(self, queries: Tensor, keys: Tensor) -> Tensor:
        require_rows(self, queries)
        lengths = torch.tensor(self.lengths, device=keys.device)
        return (keys < lengths[:, None])[:, None].expand(-1, queries.shape[-1], -1)
