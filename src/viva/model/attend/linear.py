"""Linear attention (Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236): sums over keys in place of a square.

Seen both ways, one sum of phi(k) v^T serves every query (eq. 6). Left to right, a sum is kept up to each block of keys
and the block itself is multiplied out (eq. 9-12, by blocks); decoding keeps the sum alone (section 3.4), which has a
constant size.
"""

import torch
from torch import Tensor

from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.padding import Padding
from viva.model.score import Score
from viva.model.score.linear import Linear, phi

BLOCK = 128  # queries at a time


def suits(score: Score, parts: tuple[Mask, ...], T: int, S: int, aligned: bool) -> bool:
    """Whether sums can stand for the keys: all of a row's are seen, or all up to each query."""
    known = isinstance(score, Linear) and all(isinstance(part, Causal | Padding) for part in parts)
    return known and (Causal() not in parts or (aligned and T == S))


def attend(q: Tensor, k: Tensor, v: Tensor, parts: tuple[Mask, ...]) -> Tensor:
    """q, k and v [B, H, T, D] -> [B, H, T, D]."""
    q, k = phi(q), phi(k)
    for part in parts:
        if isinstance(part, Padding):
            places = torch.arange(k.shape[2], device=k.device)
            k = k * part.allows(places[None, :1], places).transpose(1, 2)[:, None]  # [B, 1, S, 1]
    if Causal() in parts:
        return causal(q, k, v)
    return _read(q, k.mT @ v, k.sum(2))


def causal(q: Tensor, k: Tensor, v: Tensor, seen: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """With phi applied to q and k: each query reads the keys up to its own, and those summed up in `seen`.

    `seen` is (sum of phi(k) v^T [B, H, D, D], sum of phi(k) [B, H, D]), and is brought up to date in place. Sums are
    fp32 or wider: in half precision they would soon be too large for one more key to count.
    """
    dtype = q.dtype
    q, k, v = (x.to(torch.promote_types(dtype, torch.float32)) for x in (q, k, v))
    values, mass = seen or (k.new_zeros(*k.shape[:2], k.shape[3], v.shape[3]), k.new_zeros(*k.shape[:2], k.shape[3]))
    out = []
    for a, b, c in zip(*(x.split(BLOCK, 2) for x in (q, k, v)), strict=True):
        inside = (a @ b.mT).tril()
        top = inside @ c + a @ values
        below = inside.sum(-1, keepdim=True) + a @ mass[..., None]
        out.append(top / below.clamp_min(torch.finfo(below.dtype).tiny))
        values, mass = values + b.mT @ c, mass + b.sum(2)
    if seen is not None:
        seen[0].copy_(values), seen[1].copy_(mass)
    return torch.cat(out, 2).to(dtype)


def decode(q: Tensor, k: Tensor, v: Tensor, seen: tuple[Tensor, Tensor], real: Tensor | None = None) -> Tensor:
    """New tokens q, k and v [B, H, T, D] behind those of `seen`, which takes in those that are `real` [B, T]."""
    q, k = phi(q), phi(k)
    return causal(q, k if real is None else k * real[:, None, :, None], v, seen)


def _read(q: Tensor, values: Tensor, mass: Tensor) -> Tensor:
    below = q @ mass[..., None]
    return q @ values / below.clamp_min(torch.finfo(below.dtype).tiny)
