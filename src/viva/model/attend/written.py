"""Attention written out: scores, weights, values. For scores that no fused kernel knows, and where weights are read."""

from torch import Tensor
from torch.nn.functional import dropout

from viva.model.attend import Weighing


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, how: Weighing) -> Tensor:
    """q [B, H, T, D], k and v [B, H, S, D], allowed [B or 1, 1, T or 1, S] -> [B, H, T, D]."""
    scheme, table = how.placed or (None, None)
    bias = scheme.bias(q, k, table) if scheme is not None and scheme.biased else None
    weights = how.score.weights(q, k, allowed, bias)
    if how.keep is not None:
        how.keep[how.name] = weights
    weights = dropout(weights, how.dropout)
    out = weights @ v
    return out + scheme.read(weights, table) if scheme is not None and scheme.valued else out
