"""Cross-entropy of a linear head that never holds the logits of all tokens.

For a token with state h, target y and head W the loss is, with the smoothing e of Szegedy et al. 2016, eq. 3,

    z = W h,    l = logsumexp(z) - (1 - e) z_y - e mean(z),    dl/dz = softmax(z) - (1 - e) onehot(y) - e / V

The gradient needs nothing from above but one factor, so it is computed in the forward pass, a few rows of logits
at a time: [rows, V] instead of [N, V] of memory, and no second product with W in the backward pass.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viva.base.product import product
from viva.train.loss import IGNORE

ELEMENTS = 2**21  # logits held at once (8 MiB in fp32): small enough to stay near the cache
ROWS = 512  # but never fewer rows than a matrix product needs to run at its peak


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    chunk: int | None = None,
    bias: Tensor | None = None,
    cap: float | None = None,
) -> Tensor:
    """The sum over tokens of the cross-entropy of `hidden @ weight.T + bias`, bounded softly by `cap`; a scalar, fp32
    or wider.

    hidden [N, E], weight [V, E], bias [V], targets [N] in 0..V-1 or IGNORE; `chunk` rows of logits are held at once.
    Under autocast the products run in its dtype; softmax and sums stay in fp32.
    """
    chunk = chunk or max(ROWS, ELEMENTS // weight.shape[0])
    tensors = (hidden, weight, bias)
    wanted = [torch.is_grad_enabled() and tensor is not None and tensor.requires_grad for tensor in tensors]
    return _LinearCrossEntropy.apply(*tensors, targets, smoothing, cap, chunk, wanted)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, smoothing, cap, chunk, wanted):
        dtypes = _product_dtypes(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            total, *ctx.gradients = _forward(hidden, weight, bias, targets, smoothing, cap, chunk, wanted, dtypes)
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (hidden, weight, bias)]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, factor):
        found = (
            None if gradient is None else (gradient * factor).to(dtype)
            for gradient, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        return *found, None, None, None, None, None


def _forward(hidden, weight, bias, targets, smoothing, cap, chunk, wanted, dtypes) -> tuple[Tensor | None, ...]:
    """The summed loss and, where `wanted`, its gradients by hidden [N, E], weight [V, E] and bias [V] in fp32 or
    wider.
    """
    low, back = dtypes
    wide = torch.promote_types(hidden.dtype, torch.float32)
    table, table_back = weight.to(low), weight.to(back)
    total = torch.zeros((), dtype=wide, device=hidden.device)
    grad_hidden, grad_weight, grad_bias = (
        torch.zeros_like(tensor, dtype=wide) if want else None
        for tensor, want in zip((hidden, weight, bias), wanted, strict=True)
    )
    learned = (targets != IGNORE).nonzero().squeeze(1)  # the other rows never reach a product
    for rows in learned.split(chunk):
        states = hidden[rows]
        logits = product(states.to(low), table).to(wide)
        if bias is not None:
            logits += bias
        total += _loss_into_gradient(logits, targets[rows], smoothing, cap)
        gradient = logits.to(back)
        if grad_hidden is not None:
            grad_hidden[rows] = product(gradient, table_back.T).to(wide)
        if grad_weight is not None:
            grad_weight += product(gradient.T, states.to(back).T)
        if grad_bias is not None:
            grad_bias += logits.sum(0)
    return total, grad_hidden, grad_weight, grad_bias


def _product_dtypes(hidden: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """The dtype of the logits' product and that of the two gradient products."""
    device = hidden.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    # A sum over many tokens overflows fp16 here, before any loss scale could be applied or lowered.
    return low, torch.float32 if low == torch.float16 else low


def _loss_into_gradient(logits: Tensor, targets: Tensor, smoothing: float, cap: float | None = None) -> Tensor:
    """The summed loss of [rows, V] logits, which become their own gradient in place.

    A `cap` makes of z first cap tanh(z / cap), whose slope is 1 - tanh(z / cap)^2.
    """
    size = logits.shape[1]
    targets = targets.unsqueeze(1)
    slope = None
    if cap is not None:
        logits.div_(cap).tanh_()
        slope = 1 - logits.square()
        logits.mul_(cap)
    top = logits.amax(1, keepdim=True)
    aim = (1 - smoothing) * logits.gather(1, targets)
    if smoothing:
        aim += smoothing * logits.mean(1, keepdim=True)
    mass = logits.sub_(top).exp_().sum(1, keepdim=True)
    logits.div_(mass)
    logits.scatter_add_(1, targets, logits.new_full((), smoothing - 1).expand_as(targets))
    if smoothing:
        logits.sub_(smoothing / size)
    if slope is not None:
        logits.mul_(slope)
    return (mass.log_() + top - aim).sum()
