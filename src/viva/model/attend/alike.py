"""Attention of which no number depends on what stands beside it: not on other rows, other queries, or room for keys.

A fused kernel adds up the parts of a sum in an order that follows from the sizes it is given. So every size that the
company of a query could change is held to a few at which this machine is measured to compute the same bits.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from viva.model.attend import Weighing, written
from viva.model.attend.dense import grouped

ROWS = 4  # of queries: a matrix product of fewer takes another way
KEYS = 512  # that torch's kernel for CPUs reads at once
STEP = 16  # numbers in a register, at least


class Sight:
    """What queries may see of the keys, `allowed` [B, T, S]: the same in every layer with one mask."""

    def __init__(self, allowed: Tensor):
        self.allowed = allowed
        self._added: dict[tuple[torch.dtype, int], Tensor] = {}

    def added(self, dtype: torch.dtype, heads: int) -> Tensor:
        """What is added to scores: 0, or -inf where nothing is seen; [B, 1, heads T, S] for so many heads that read the
        same keys, of which the queries lie below each other, and filled up as they are.
        """
        if (dtype, heads) not in self._added:
            rows = torch.zeros_like(self.allowed, dtype=dtype).masked_fill_(~self.allowed, -torch.inf)
            B, T, S = rows.shape
            rows = rows[:, None].expand(B, heads, T, S).reshape(B, 1, heads * T, S)
            self._added[dtype, heads] = _filled(rows)
        return self._added[dtype, heads]


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight, how: Weighing) -> Tensor:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D]; S is one of `room`."""
    (B, H, T, D), G = q.shape, k.shape[1]
    scheme = how.placed.scheme if how.placed else None
    biased = scheme is not None and scheme.biased
    fused = how.score.fused(q, k) if how.keep is None and not (biased and scheme.valued) else None
    if fused is None:
        q, allowed = _filled(q), _filled(sight.allowed, True)
        return written.attend(q, grouped(k, H), grouped(v, H), allowed[:, None], how)[:, :, :T]
    added = sight.added(q.dtype, H // G)
    if biased:
        own = scheme.bias(q, grouped(k, H), how.placed.table)[..., :T, :].to(q.dtype).expand(B, H, -1, -1)
        added = added + _filled(own.unflatten(1, (G, H // G)).flatten(2, 3))
    # heads that read the same keys are rows of one product
    q, k, scale = fused
    q = q.reshape(B, G, H // G * T, D)
    y = scaled_dot_product_attention(_filled(q), k, v, added, scale=scale)
    return y[:, :, : q.shape[2]].reshape(B, H, T, D)


def rows(T: int, device: torch.device) -> int:
    """How many queries T are filled up to; none on a device on which nothing is promised."""
    return T + -T % ROWS if device.type == "cpu" else T


def _filled(x: Tensor, value: float = 0) -> Tensor:
    """x [..., T, n] with as many more rows as `rows` says."""
    more = rows(x.shape[-2], x.device) - x.shape[-2]
    return pad(x, (0, 0, 0, more), value=value) if more else x


def room(S: int, sizes: tuple[int, ...]) -> int:
    """The least room for S keys: whole readings of KEYS, and one of `sizes`."""
    whole, rest = divmod(S - 1, KEYS)
    return whole * KEYS + next(size for size in sizes if size > rest)


@cache
def sizes(device: str) -> tuple[int, ...]:
    """Rooms of at most KEYS keys in which the kernel on a CPU computes the same bits as in that of KEYS, measured; on
    another device, where nothing is promised and few kernels matter more than small ones, that of KEYS alone.
    """
    if device != "cpu":
        return (KEYS,)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, n, 32, generator=generator) for n in (2 * ROWS, KEYS, KEYS))
    every = range(STEP, KEYS + 1, STEP)
    return tuple(size for size in every if all(_same(q, k, v, size, seen) for seen in range(size - STEP + 1, size + 1)))


def _same(q: Tensor, k: Tensor, v: Tensor, size: int, seen: int) -> bool:
    """Whether queries that see so many keys read the same in a room of `size` as in one of KEYS."""
    mask = torch.zeros(KEYS).masked_fill_(torch.arange(KEYS) >= seen, -torch.inf).expand(1, 1, q.shape[2], -1)
    whole = scaled_dot_product_attention(q, k, v, mask)
    return torch.equal(whole, scaled_dot_product_attention(q, k[:, :, :size], v[:, :, :size], mask[..., :size]))
