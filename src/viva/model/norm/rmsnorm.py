"""RMSNorm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467, eq. 4): scaled by the root mean square alone."""

from functools import cache, partial

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from viva.base.config import Config as BaseConfig
from viva.model.again import cheap

ROWS = 256  # rows at a time, so that the passes over them find them in the cache


class Config(BaseConfig):
    """`eps` is added to the mean square. A `centred` norm multiplies by 1 + w, so that a decay of weights draws the
    factor to 1 and not to 0 (Gemma).
    """

    eps: float = Field(1e-6, gt=0)
    centred: bool = False

    def build(self, width: int) -> nn.Module:
        return Centred(width, self.eps) if self.centred else RMSNorm(width, self.eps)


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * w over the last axis, in fp32 or wider; the result has x's dtype."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Centred(RMSNorm):
    """The same with 1 + w in place of w, which begins at 0."""

    def __init__(self, width: int, eps: float):
        super().__init__(width, eps)
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(self.weight.dtype, torch.float32)  # 1 + w has no room in half precision
        return rms_norm(x, 1 + self.weight.to(wide), self.eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [..., E], weight [E] -> [..., E]."""
    if x.is_cuda and weight.dtype == x.dtype:  # a kernel each way, which reckons in fp32 or wider
        return nn.functional.rms_norm(x, weight.shape, weight, eps).to(x.dtype)
    if torch.is_grad_enabled() and x.dtype == torch.float32:
        return cheap(_RMSNorm.apply(x, weight, eps), partial(_normed_alone, eps=eps), x, weight)
    if x.dtype in (torch.float32, torch.float64):
        normed = x * _scale(x, eps)
        return normed * weight if torch.is_grad_enabled() else normed.mul_(weight)
    return nn.functional.rms_norm(x.float(), weight.shape, weight.float(), eps).to(x.dtype)


class _RMSNorm(torch.autograd.Function):
    """With n = x s, s = 1 / sqrt(mean(x^2) + eps) and h = dl/dy w: dl/dx = s (h - n mean(h n)), dl/dw = sum(dl/dy n).

    torch composes the norm from five operations and keeps what each needs; this keeps x, and s, a number a row.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        y, scale = _normed(x, weight, eps)
        ctx.save_for_backward(x, weight, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight, scale = ctx.saved_tensors
        by_x, by_weight = torch.empty(scale.shape[0], x.shape[-1], device=x.device), torch.zeros_like(weight)
        parts = (t.reshape(-1, t.shape[-1]).split(ROWS) for t in (x, grad, scale, by_x))
        for part, g, s, out in zip(*parts, strict=True):
            n = part * s
            torch.mul(g, n, out=out)
            by_weight += out.sum(0)
            mean = out.mul_(weight).mean(-1, keepdim=True)
            torch.mul(g, weight, out=out).sub_(n.mul_(mean)).mul_(s)
        return by_x.view(x.shape), by_weight, None


def _normed(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """y of x's shape and s [rows, 1]."""
    rows = x.reshape(-1, x.shape[-1])
    y, scale = torch.empty_like(rows), torch.empty(rows.shape[0], 1, device=x.device)
    for part, out, s in zip(rows.split(ROWS), y.split(ROWS), scale.split(ROWS), strict=True):
        torch.mul(part, s.copy_(_scale(part, eps)), out=out).mul_(weight)
    return y.view(x.shape), scale


def _normed_alone(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _normed(x, weight, eps)[0]


def _scale(x: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean(x^2) + eps) of x [..., E]: [..., 1]."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.addcmul(_number(eps, x.dtype, x.device), norm, norm, value=1 / x.shape[-1]).rsqrt()


@cache
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A scalar as a tensor: made at every use it would cost as much as the norm of a token."""
    return torch.tensor(value, dtype=dtype, device=device)
