"""Attention in half precision, trained on a CPU: torch's fused kernel forward, matrix products backward.

The kernel's own backward pass is slower than in fp32 there, by far where documents are short. This one takes a block of
queries at a time against the keys they may see, so that the scores stay near the cache and none is kept (Dao et al.
2022, https://arxiv.org/abs/2205.14135, algorithm 4, without the split along the keys).
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 128  # queries at a time


def suits(q: Tensor, dropout: float, scale: float) -> bool:
    """Whether this kernel is the faster one, and computes what is asked for."""
    half = q.dtype in (torch.bfloat16, torch.float16)
    usual = not dropout and scale == q.shape[-1] ** -0.5
    return half and usual and torch.is_grad_enabled() and q.device.type == "cpu"


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = True, allowed: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V; q [B, H, T, D], k and v [B, H, S, D] -> [B, H, T, D].

    `causal` is key <= query, for T = S; `allowed` [B or 1, 1, 1, S] are the keys that may be seen, one of each row at
    least.
    """
    return _Attention.apply(q, k, v, causal, allowed)


class _Attention(torch.autograd.Function):
    """With P = exp(S - L), L the logarithm of each row's sum: dV = P^T dO, dS = P * (dO V^T - sum(dO * O)),
    dQ = dS K, dK = dS^T Q, the last two times the scale of S = Q K^T / sqrt(D).
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool, allowed: Tensor | None) -> Tensor:
        bias = None if allowed is None else torch.where(allowed, 0.0, -torch.inf).to(q.dtype)
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, logsum = fused(q, k, v, 0.0, causal, attn_mask=bias)
        ctx.save_for_backward(q, k, v, out, logsum)
        ctx.causal, ctx.allowed = causal, allowed
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        B, H, T, D = grad.shape
        *kept, logsum = ctx.saved_tensors  # once: where activations are computed again, each comes but once
        q, k, v, out, grad = (x.flatten(0, 1) for x in (*kept, grad))
        logsum = logsum.reshape(B * H, T, 1)
        hidden = None if ctx.allowed is None else ~ctx.allowed.expand(B, H, 1, -1).reshape(B * H, 1, -1)
        shift = (grad * out).sum(-1, keepdim=True, dtype=torch.float32).to(q.dtype)
        by_q, by_k, by_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        q = q * D**-0.5
        for start in range(0, T, BLOCK):
            block = slice(start, min(start + BLOCK, T))
            seen = slice(0, block.stop if ctx.causal else k.shape[1])
            weights = (q[:, block] @ k[:, seen].mT).sub_(logsum[:, block]).exp_()
            if ctx.causal:
                weights[:, :, start:].tril_()
            if hidden is not None:
                weights.masked_fill_(hidden, 0)
            by_v[:, seen].baddbmm_(weights.mT, grad[:, block])
            by_scores = (grad[:, block] @ v[:, seen].mT).sub_(shift[:, block]).mul_(weights)
            torch.mul(by_scores @ k[:, seen], D**-0.5, out=by_q[:, block])
            by_k[:, seen].baddbmm_(by_scores.mT, q[:, block])
        return *(x.unflatten(0, (B, H)) for x in (by_q, by_k, by_v)), None, None
