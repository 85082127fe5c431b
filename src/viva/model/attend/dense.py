"""Attention over rows of one document, on torch's fused kernel (Dao et al. 2022, https://arxiv.org/abs/2205.14135)."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from viva.model.attend import halves
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.window import Window


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, places: Tensor, aligned: bool, dropout: float = 0.0) -> Tensor:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D]; query head h reads key head h G // H.

    `places` [B or 1, T] are the queries' slots among the S keys; where rows are `aligned`, they are the last T. The
    mask is handed to the kernel in the cheapest form that says the same: nothing, a flag, or a boolean [B, 1, T, S].
    """
    (B, H, T, D), (G, S) = q.shape, k.shape[1:3]
    parts = mask.parts
    causal = aligned and Causal() in parts and all(isinstance(part, Causal) or _idle(part, S) for part in parts)
    if causal and T == 1 and not dropout:  # the last token sees every key: a group's heads are rows of one product
        return scaled_dot_product_attention(q.reshape(B, G, H // G, D), k, v).view(q.shape)
    if H > G:
        k, v = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    if causal and T == S and halves.suits(q, dropout):
        return halves.attend(q, k, v)
    if causal and T == S:
        return scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
    allowed = mask.allows(places, torch.arange(S, device=q.device))[:, None]
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)


def _idle(mask: Mask, S: int) -> bool:
    """Whether a window is as wide as all the keys there are."""
    return isinstance(mask, Window) and mask.width >= S
