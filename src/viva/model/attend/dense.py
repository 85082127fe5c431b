"""Attention over rows as they lie, by the cheapest kernel that computes the same."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from viva.model.attend import Weighing, halves, linear, written
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.padding import Padding
from viva.model.mask.window import Window


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, places: Tensor, aligned: bool, how: Weighing) -> Tensor:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D]; query head h reads key head h G // H.

    `places` [B or 1, T] are the queries' slots among the S keys; where rows are `aligned`, they are the last T. The
    fused kernel (Dao et al. 2022, https://arxiv.org/abs/2205.14135) takes the mask in the cheapest form that says the
    same: nothing, a flag, or a boolean [B, 1, T, S].
    """
    (H, T), S = q.shape[1:3], k.shape[2]
    scheme = how.placed.scheme if how.placed else None
    biased = scheme is not None and scheme.biased
    fused = how.score.fused(q, k) if how.keep is None and not (biased and scheme.valued) else None
    if fused is None:
        k, v = grouped(k, H), grouped(v, H)
        if how.keep is None and linear.suits(how.score, mask.parts, T, S, aligned):
            return linear.attend(q, k, v, mask.parts, how.score)
        return written.attend(q, k, v, _allowed(mask, places, S), how)
    if biased:  # by queries and keys as they are, whatever the score makes of them
        bias = scheme.bias(q, grouped(k, H), how.placed.table).to(q.dtype)
        bias = bias if not mask.parts else torch.where(_allowed(mask, places, S), bias, -torch.inf)
        q, k, scale = fused
        return scaled_dot_product_attention(q, grouped(k, H), grouped(v, H), bias, how.dropout, scale=scale)
    return _fused(*fused, v, mask, places, aligned, how.dropout)


def _fused(q: Tensor, k: Tensor, scale: float, v: Tensor, mask: Mask, places: Tensor, aligned: bool, dropout: float):
    """softmax(scale Q K^T) V under the cheapest form of the mask."""
    (B, H, T, D), (G, S), parts = q.shape, k.shape[1:3], mask.parts
    causal = aligned and any(isinstance(part, Causal) for part in parts)
    causal = causal and all(isinstance(part, Causal) or _idle(part, S) for part in parts)
    if causal and T == 1 and not dropout:
        # the last token sees every key: a group's heads are rows of one product
        return scaled_dot_product_attention(q.reshape(B, G, H // G, D), k, v, scale=scale).reshape(q.shape)
    k, v = grouped(k, H), grouped(v, H)
    square = causal and T == S
    allowed = _allowed(mask, places, S) if parts and not square else None
    if (square or allowed is None or _padding(parts)) and halves.suits(q, dropout, scale):
        return halves.attend(q, k, v, square, allowed)
    return scaled_dot_product_attention(q, k, v, allowed, dropout, is_causal=square, scale=scale)


def grouped(x: Tensor, H: int) -> Tensor:
    """[B, G, S, D] -> [B, H, S, D]: each key head for all query heads of its group."""
    return x if x.shape[1] == H else x.repeat_interleave(H // x.shape[1], dim=1)


def _allowed(mask: Mask, places: Tensor, S: int) -> Tensor:
    """The mask as a boolean [B or 1, 1, T or 1, S]; padding alone is the same for every query."""
    keys = torch.arange(S, device=places.device)
    if _padding(mask.parts):
        places = places[:, :1]
    return mask.allows(places, keys)[:, None]


def _idle(mask: Mask, S: int) -> bool:
    """Whether a window is as wide as all the keys there are."""
    return isinstance(mask, Window) and mask.width >= S


def _padding(parts: tuple[Mask, ...]) -> bool:
    """Whether nothing but padding is hidden."""
    return bool(parts) and all(isinstance(part, Padding) for part in parts)
