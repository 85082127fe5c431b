"""One linear map, y = x W^T + b, and its gradients by the faster product."""

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from viva.base.product import ours, product
from viva.model.again import Again, mark


class Linear(nn.Linear):
    """x [..., in] -> [..., out]."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in], weight [out, in], bias [out] -> [..., out]."""
    if torch.is_grad_enabled() and ours(x):
        return trained(x, weight, bias, (weight.shape[0],))[0]
    return product(x, weight, bias)


def trained(x: Tensor, weight: Tensor, bias: Tensor | None, outs: tuple[int, ...]) -> tuple[Tensor, ...]:
    """x W^T + b, a tensor for each of the `outs` rows of W, with their gradients. A cheap `x` is not kept."""
    return _Linear.apply(x, weight, bias, outs, mark(x))


class _Linear(torch.autograd.Function):
    """dl/dx = dl/dy W, dl/dW = (dl/dy)^T x, dl/db = sum(dl/dy)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, outs: tuple[int, ...], again: Again | None):
        ctx.outs, ctx.make = outs, again and again.make
        of = again.of if again else (x,)
        ctx.save_for_backward(weight, *(of if ctx.needs_input_grad[1] else ()))  # a frozen weight needs no x
        biases = (None,) * len(outs) if bias is None else bias.split(outs)
        return tuple(product(x, w, b) for w, b in zip(weight.split(outs), biases, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads: Tensor):
        weight, *of = ctx.saved_tensors
        by_x, by_weight, by_bias, *_ = ctx.needs_input_grad
        rows = [grad.reshape(-1, grad.shape[-1]) for grad in grads]
        found = _by_input(grads, weight.split(ctx.outs)) if by_x else None
        found_weight = _by_weight(rows, ctx.make(*of) if ctx.make else of[0], weight) if by_weight else None
        found_bias = torch.cat([grad.sum(0) for grad in rows]) if by_bias else None
        return found, found_weight, found_bias, None, None


def _by_input(grads: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Tensor:
    first, *others = (product(grad, weight.T) for grad, weight in zip(grads, weights, strict=True))
    for other in others:
        first += other
    return first


def _by_weight(grads: list[Tensor], x: Tensor, weight: Tensor) -> Tensor:
    """A product copies a transposed left factor, so the narrower of x and the gradients together stands there."""
    x, found = x.reshape(-1, x.shape[-1]).T, torch.empty_like(weight)
    wide = weight.shape[0] > weight.shape[1]
    if wide and len(grads) > 1:
        x = x.contiguous()  # copied here, once for all parts
    for grad, part in zip(grads, found.split([grad.shape[1] for grad in grads]), strict=True):
        part.copy_(product(x, grad.T).T if wide else product(grad.T, x))
    return found
