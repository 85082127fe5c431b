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


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, how: Weighing) -> Tensor:
    """q [B, H, T, D], k and v [B, G, S, D], allowed [B, T, S] -> [B, H, T, D]; S is one of `room`."""
    (B, H, T, D), G = q.shape, k.shape[1]
    scheme = how.placed.scheme if how.placed else None
    biased = scheme is not None and scheme.biased
    fused = how.score.fused(q, k) if how.keep is None and not (biased and scheme.valued) else None
    if fused is None:
        q, allowed = _filled(q), _filled(allowed, True)
        return written.attend(q, grouped(k, H), grouped(v, H), allowed[:, None], how)[:, :, :T]
    bias = torch.zeros_like(allowed, dtype=q.dtype).masked_fill_(~allowed, -torch.inf)[:, None]
    if biased:
        bias = bias + scheme.bias(q, grouped(k, H), how.placed.table)[..., :T, :].to(q.dtype)
    # heads that read the same keys are rows of one product
    bias = bias.expand(B, H, -1, -1).unflatten(1, (G, H // G)).flatten(2, 3)
    q, k, scale = fused
    q = q.reshape(B, G, H // G * T, D)
    y = scaled_dot_product_attention(_filled(q), k, v, _filled(bias), scale=scale)
    return y[:, :, : q.shape[2]].reshape(B, H, T, D)


def _filled(x: Tensor, value: float = 0) -> Tensor:
    """x [..., T, n] with as many more rows as make T a multiple of ROWS."""
    more = -x.shape[-2] % ROWS
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
