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
from viva.model.score.linear import Features, Linear

BLOCK = 128  # queries at a time


def suits(score: Score, parts: tuple[Mask, ...], T: int, S: int, aligned: bool) -> bool:
    """Whether sums can stand for the keys: all of a row's are seen, or all up to each query."""
    known = isinstance(score, Linear) and all(isinstance(part, Causal | Padding) for part in parts)
    return known and (Causal() not in parts or (aligned and T == S))


def attend(q: Tensor, k: Tensor, v: Tensor, parts: tuple[Mask, ...], score: Linear) -> Tensor:
    """q and k [B, H, T, D or 2D], as `score` takes them, and v [B, H, T, D] -> [B, H, T, D]."""
    q, k = score.features(q), score.features(k)
    for part in parts:
        if isinstance(part, Padding):
            places = torch.arange(v.shape[2], device=v.device)
            k = _seen(k, part.allows(places[None, :1], places).transpose(1, 2)[:, None])  # [B, 1, S, 1]
    if Causal() in parts:
        return causal(q, k, v)
    below = q.plain @ k.plain.sum(2)[..., None]
    return _over(q.turned @ (k.turned.mT @ v), below)


def causal(q: Features, k: Features, v: Tensor, seen: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Each query reads the keys up to its own, and those summed up in `seen`.

    `seen` is (sum of phi(k) v^T [B, H, D, D], sum of phi(k) [B, H, D]), and is brought up to date in place. Sums are
    fp32 or wider: in half precision they would soon be too large for one more key to count.
    """
    wide = torch.promote_types(v.dtype, torch.float32)
    blocks = (x.to(wide).split(BLOCK, 2) for x in (*q, *k, v))
    shape = (*v.shape[:2], v.shape[3], v.shape[3])
    values, mass = seen or (v.new_zeros(shape, dtype=wide), v.new_zeros(shape[:3], dtype=wide))
    same, out = q.plain is q.turned, []
    for a, a_plain, b, b_plain, c in zip(*blocks, strict=True):
        inside = (a @ b.mT).tril()
        above = inside @ c + a @ values
        inside = inside if same else (a_plain @ b_plain.mT).tril()
        below = inside.sum(-1, keepdim=True) + a_plain @ mass[..., None]
        out.append(_over(above, below))
        values, mass = values + b.mT @ c, mass + b_plain.sum(2)
    if seen is not None:
        seen[0].copy_(values), seen[1].copy_(mass)
    return torch.cat(out, 2).to(v.dtype)


def decode(
    q: Tensor, k: Tensor, v: Tensor, seen: tuple[Tensor, Tensor], score: Linear, real: Tensor | None = None
) -> Tensor:
    """New tokens q, k and v, as for `attend`, behind those of `seen`, which takes in those that are `real` [B, T]."""
    q, k = score.features(q), score.features(k)
    return causal(q, k if real is None else _seen(k, real[:, None, :, None]), v, seen)


def _over(above: Tensor, below: Tensor) -> Tensor:
    """The quotient; 0 where no key is seen, and so is its slope, which over a tiny number would be infinite times 0."""
    return above / torch.where(below < torch.finfo(below.dtype).tiny, 1.0, below)


def _seen(k: Features, real: Tensor) -> Features:
    """Keys that are not `real` count nowhere."""
    turned = k.turned * real
    return Features(turned, turned if k.plain is k.turned else k.plain * real)
