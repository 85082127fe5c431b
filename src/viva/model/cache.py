"""Keys and values kept between passes, so that a new token costs one column of attention instead of the square."""

from typing import Protocol

import torch
from torch import Tensor

from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.spec import Spec

# For each layer the keys and values [B or 1, G, S, D] of what it attends to.
Across = dict[int, tuple[Tensor, Tensor]]


class Cache(Protocol):
    """What attention needs of a cache: where the next tokens go, and all keys and values once they are there.

    One that is `ragged` holds documents that each go on from a place of their own, and attends them itself, by
    `attend(layer, q, k, v, mask, how)`.
    """

    ragged: bool
    held: int | Tensor  # tokens of each row: one number while rows are equally long, else [B]
    rows: int | None  # how many it keeps; None where any may come
    across: Across

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v [B, G, T, D] of new tokens and return those of all tokens, [B, G, S, D] each."""

    def sums(self, layer: int, v: Tensor) -> tuple[Tensor, Tensor]:
        """What linear attention keeps, beside values such as v: [B, H, D, D] and [B, H, D], updated in place."""

    def advance(self, T: int | Tensor) -> None:
        """Count T more tokens in every row, or T[b] in row b; called once a pass, after the last layer."""

    def keep(self, held: int | Tensor) -> None:
        """Forget what stands behind the first `held` tokens of each row; the next tokens take its place."""

    def take(self, rows: list[int]) -> None:
        """Keep these rows alone, in this order; rows[i] is i, or one from behind the len(rows) that remain."""

    def pick(self, rows: list[int]) -> None:
        """Make rows[i] the new row i, for any rows, repeated ones too."""


def require_left_to_right(spec: Config) -> None:
    """Refuse a spec (of this package or of model/baseline) that cannot go on from what it has read."""
    if spec.decoder is None:
        raise Refusal("a model must have a decoder to keep what it has read", "an encoder alone", "use a decoder")


def taken(across: Across, rows: list[int]) -> Across:
    """For each layer the keys and values of these rows. What is one row is for all that there are, and stays so."""
    return {layer: pair if len(pair[0]) == 1 else (pair[0][rows], pair[1][rows]) for layer, pair in across.items()}


def _of_another(layer: int, v: Tensor) -> Refusal:
    """That a cache is of another model than the one whose new values v [B, G, T, D] are."""
    found = f"one that is not for layer {layer}, whose values are {v.shape[1]} x {v.shape[3]} numbers"
    return Refusal("a cache must be made for the model that reads", found, "make it by model.cache(rows, capacity)")


class Contiguous:
    """One buffer [B, G, capacity, D] a layer for keys and one for values, filled from the front.

    A layer of linear attention has two sums in their place, whose size does not depend on the capacity; one without
    self-attention has nothing to keep.
    """

    ragged = False

    def __init__(self, spec: Spec, B: int, capacity: int, dtype: torch.dtype, device: torch.device | str = "cpu"):
        require_left_to_right(spec)
        self.held: int | Tensor = 0
        self.capacity = capacity
        self.across: Across = {}
        self.summed = False
        self.keys, self.values = [], []
        for a in (block.attention for block in spec.decoder.of_layers):
            linear = a is not None and kind(a.score) == "linear"
            if a is None:
                shapes = ((B, 0, capacity, 0),) * 2
            elif linear:
                shapes, self.summed = ((B, a.heads, a.head_dim, a.head_dim), (B, a.heads, a.head_dim)), True
            else:
                shapes = ((B, a.kv_heads, capacity, a.head_dim),) * 2
            # zeros: where rows differ in length the mask gives weight 0 to slots not yet written, and 0 x NaN is NaN
            kept_as = torch.promote_types(dtype, torch.float32) if linear else dtype  # sums stall
            for kept, shape in zip((self.keys, self.values), shapes, strict=True):
                kept.append(torch.zeros(shape, dtype=kept_as, device=device))

    def sums(self, layer: int, v: Tensor) -> tuple[Tensor, Tensor]:
        if layer >= len(self.keys) or self.values[layer].shape[1:] != v.shape[1::2]:
            raise _of_another(layer, v)
        return self.keys[layer], self.values[layer]

    @property
    def rows(self) -> int:
        return self.keys[0].shape[0]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        T = k.shape[2]
        end = T + (self.held if isinstance(self.held, int) else int(self.held.max()))
        if end > self.capacity:
            raise Refusal(f"this cache holds at most {self.capacity} tokens a row", f"{end}", "make it larger")
        if layer >= len(self.keys) or self.values[layer].ndim < 4 or self.values[layer].shape[1::2] != v.shape[1::2]:
            raise _of_another(layer, v)
        kept, cast = self.values[layer].dtype, torch.is_autocast_enabled(v.device.type)  # which takes either
        if kept != v.dtype and not (cast and torch.promote_types(kept, v.dtype) == kept):
            fix = "make it by model.cache(rows, capacity), or load the model in the cache's"
            raise Refusal(f"a cache must keep {v.dtype} of a model that computes in it", kept, fix)
        return self._store(self.keys[layer], k, end), self._store(self.values[layer], v, end)

    def _store(self, buffer: Tensor, new: Tensor, end: int) -> Tensor:
        T = new.shape[2]
        if isinstance(self.held, int):
            buffer.narrow(2, self.held, T).copy_(new)
        else:
            rows = torch.arange(new.shape[0], device=new.device)[:, None]
            slots = self.held[:, None] + torch.arange(T, device=new.device)
            buffer[rows, :, slots] = new.transpose(1, 2)
        return buffer.narrow(2, 0, end)

    def advance(self, T: int | Tensor) -> None:
        self.held = self.held + T

    def keep(self, held: int | Tensor) -> None:
        """Forget what stands behind the first `held` tokens of each row; the next tokens take its place."""
        if self.summed:
            fix = "read rows of one length at a time"
            raise Refusal("linear attention must keep what it has read", "tokens to be forgotten", fix)
        self.held = held

    def take(self, rows: list[int]) -> None:
        """Keep these rows alone, in this order; rows[i] is i, or one from behind the len(rows) that remain."""
        moves = [(place, row) for place, row in enumerate(rows) if place != row]
        for buffers in (self.keys, self.values):
            for layer, buffer in enumerate(buffers):
                for place, row in moves:
                    buffer[place] = buffer[row]
                buffers[layer] = buffer[: len(rows)]
        self._take_rest(rows)

    def pick(self, rows: list[int]) -> None:
        """Make rows[i] the new row i, for any rows, repeated ones too; only what is held is copied."""
        at = torch.tensor(rows, dtype=torch.long, device=self.keys[0].device)
        end = self.held if isinstance(self.held, int) else int(self.held.max())
        for buffers in (self.keys, self.values):
            for layer, buffer in enumerate(buffers):
                if self.summed:
                    buffers[layer] = buffer[at]
                elif len(rows) == buffer.shape[0]:
                    buffer[:, :, :end] = buffer[at, :, :end]
                else:
                    buffers[layer] = buffer.new_zeros(len(rows), *buffer.shape[1:])
                    buffers[layer][:, :, :end] = buffer[at, :, :end]
        self._take_rest(rows)

    def _take_rest(self, rows: list[int]) -> None:
        self.across = taken(self.across, rows)
        if not isinstance(self.held, int):
            self.held = self.held[rows]
