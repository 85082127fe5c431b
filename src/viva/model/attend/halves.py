"""Causal attention in half precision, trained on a CPU: torch's fused kernel forward, matrix products backward.

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


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V where key <= query; q, k and v [B, H, T, D] -> [B, H, T, D]."""
    return _Attention.apply(q, k, v)


class _Attention(torch.autograd.Function):
    """With P = exp(S - L), L the logarithm of each row's sum: dV = P^T dO, dS = P * (dO V^T - sum(dO * O)),
    dQ = dS K, dK = dS^T Q, the last two times the scale of S = Q K^T / sqrt(D).
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, logsum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
        ctx.save_for_backward(q, k, v, out, logsum)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        B, H, T, D = grad.shape
        *kept, logsum = ctx.saved_tensors  # once: where activations are computed again, each comes but once
        q, k, v, out, grad = (x.reshape(B * H, T, D) for x in (*kept, grad))
        logsum = logsum.reshape(B * H, T, 1)
        shift = (grad * out).sum(-1, keepdim=True, dtype=torch.float32).to(q.dtype)
        by_q, by_k, by_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        q = q * D**-0.5
        for start in range(0, T, BLOCK):
            block = slice(start, min(start + BLOCK, T))
            seen = slice(0, block.stop)
            weights = (q[:, block] @ k[:, seen].mT).sub_(logsum[:, block]).exp_()
            weights[:, :, start:].tril_()
            by_v[:, seen].baddbmm_(weights.mT, grad[:, block])
            by_scores = (grad[:, block] @ v[:, seen].mT).sub_(shift[:, block]).mul_(weights)
            torch.mul(by_scores @ k[:, seen], D**-0.5, out=by_q[:, block])
            by_k[:, seen].baddbmm_(by_scores.mT, q[:, block])
        return tuple(x.view(B, H, T, D) for x in (by_q, by_k, by_v))
