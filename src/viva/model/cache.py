"""Keys and values kept between passes, so that a new token costs one column of attention instead of the square."""

from typing import Protocol

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.model.spec import Spec


class Cache(Protocol):
    """What attention needs of a cache: where the next tokens go, and all keys and values once they are there."""

    held: int | Tensor  # tokens of each row: one number while rows are equally long, else [B]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v [B, G, T, D] of new tokens and return those of all tokens, [B, G, S, D] each."""

    def advance(self, T: int) -> None:
        """Count T more tokens in every row; called once a pass, after the last layer."""


class Contiguous:
    """One buffer [B, G, capacity, D] a layer for keys and one for values, filled from the front."""

    def __init__(self, spec: Spec, B: int, capacity: int, dtype: torch.dtype, device: torch.device | str = "cpu"):
        self.held: int | Tensor = 0
        self.capacity = capacity
        blocks = [spec.decoder.block(layer).attention for layer in range(spec.decoder.layers)]
        # zeros: where rows differ in length the mask gives weight 0 to slots not yet written, and 0 x NaN is NaN
        self.keys, self.values = (
            [torch.zeros(B, a.kv_heads, capacity, a.head_dim, dtype=dtype, device=device) for a in blocks]
            for _ in range(2)
        )

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        T = k.shape[2]
        end = T + (self.held if isinstance(self.held, int) else int(self.held.max()))
        if end > self.capacity:
            raise Refusal(f"this cache holds at most {self.capacity} tokens a row", f"{end}", "make it larger")
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

    def advance(self, T: int) -> None:
        self.held = self.held + T

    def keep(self, held: int | Tensor) -> None:
        """Forget what stands behind the first `held` tokens of each row; the next tokens take its place."""
        self.held = held

    def take(self, rows: list[int]) -> None:
        """Keep these rows alone, in this order; rows[i] is i, or one from behind the len(rows) that remain."""
        moves = [(place, row) for place, row in enumerate(rows) if place != row]
        for buffers in (self.keys, self.values):
            for layer, buffer in enumerate(buffers):
                for place, row in moves:
                    buffer[place] = buffer[row]
                buffers[layer] = buffer[: len(rows)]
        if not isinstance(self.held, int):
            self.held = self.held[rows]
