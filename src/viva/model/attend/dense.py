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
    T, S, groups = q.shape[2], k.shape[2], q.shape[1] // k.shape[1]
    parts = [part for part in mask.parts if not (isinstance(part, Window) and part.width >= S)]
    causal = aligned and parts == [Causal()]
    if causal and T == 1:  # the last token sees every key: the query heads of a group become rows of one product
        return scaled_dot_product_attention(q.unflatten(1, (-1, groups)).flatten(2, 3), k, v).reshape(q.shape)
    if groups > 1:
        k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    if causal and T == S and halves.suits(q, dropout):
        return halves.attend(q, k, v)
    if causal and T == S:
        return scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
    allowed = mask.allows(places, torch.arange(S, device=q.device))[:, None]
    return scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout)
