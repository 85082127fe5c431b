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
    hidden: Tensor, weight: Tensor, targets: Tensor, smoothing: float = 0.0, chunk: int | None = None
) -> Tensor:
    """The sum over tokens of the cross-entropy of `hidden @ weight.T`; a scalar, fp32 or wider.

    hidden [N, E], weight [V, E], targets [N] in 0..V-1 or IGNORE; `chunk` rows of logits are held at once.
    Under autocast the products run in its dtype; softmax and sums stay in fp32.
    """
    chunk = chunk or max(ROWS, ELEMENTS // weight.shape[0])
    wanted = [torch.is_grad_enabled() and tensor.requires_grad for tensor in (hidden, weight)]
    return _LinearCrossEntropy.apply(hidden, weight, targets, smoothing, chunk, wanted)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, targets, smoothing, chunk, wanted):
        dtypes = _product_dtypes(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            total, *ctx.gradients = _forward(hidden, weight, targets, smoothing, chunk, wanted, dtypes)
        ctx.dtypes = hidden.dtype, weight.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, factor):
        by_hidden, by_weight = (
            None if gradient is None else (gradient * factor).to(dtype)
            for gradient, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        )
        return by_hidden, by_weight, None, None, None, None


def _forward(hidden, weight, targets, smoothing, chunk, wanted, dtypes) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The summed loss and, where `wanted`, its gradients by hidden [N, E] and weight [V, E] in fp32 or wider."""
    low, back = dtypes
    wide = torch.promote_types(hidden.dtype, torch.float32)
    table, table_back = weight.to(low), weight.to(back)
    total = torch.zeros((), dtype=wide, device=hidden.device)
    grad_hidden, grad_weight = (
        torch.zeros_like(tensor, dtype=wide) if want else None
        for tensor, want in zip((hidden, weight), wanted, strict=True)
    )
    learned = (targets != IGNORE).nonzero().squeeze(1)  # the other rows never reach a product
    for rows in learned.split(chunk):
        states = hidden[rows]
        logits = product(states.to(low), table).to(wide)
        total += _loss_into_gradient(logits, targets[rows], smoothing)
        gradient = logits.to(back)
        if grad_hidden is not None:
            grad_hidden[rows] = product(gradient, table_back.T).to(wide)
        if grad_weight is not None:
            grad_weight += product(gradient.T, states.to(back).T)
    return total, grad_hidden, grad_weight


def _product_dtypes(hidden: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """The dtype of the logits' product and that of the two gradient products."""
    device = hidden.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    # A sum over many tokens overflows fp16 here, before any loss scale could be applied or lowered.
    return low, torch.float32 if low == torch.float16 else low


def _loss_into_gradient(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """The summed loss of [rows, V] logits, which become their own gradient in place."""
    size = logits.shape[1]
    targets = targets.unsqueeze(1)
    top = logits.amax(1, keepdim=True)
    aim = (1 - smoothing) * logits.gather(1, targets)
    if smoothing:
        aim += smoothing * logits.mean(1, keepdim=True)
    mass = logits.sub_(top).exp_().sum(1, keepdim=True)
    logits.div_(mass)
    logits.scatter_add_(1, targets, logits.new_full((), smoothing - 1).expand_as(targets))
    if smoothing:
        logits.sub_(smoothing / size)
    return (mass.log_() + top - aim).sum()
