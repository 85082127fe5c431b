"""Cross-entropy of a linear head that never holds the logits of all tokens.

For a token with state h, target y and head W the loss is, with the smoothing e of Szegedy et al. 2016, eq. 3,

    z = W h,    l = logsumexp(z) - (1 - e) z_y - e mean(z),    dl/dz = softmax(z) - (1 - e) onehot(y) - e / V

The gradient needs nothing from above but one factor, so it is computed in the forward pass (`_scores`).
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viva.train.loss import IGNORE
from viva.train.loss._scores import Scores, cap_in_place, keep, product_dtypes, rows_at_once, scaled, wanted


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
    tensors = (hidden, weight, bias)
    return _LinearCrossEntropy.apply(*tensors, targets, smoothing, cap, chunk or rows_at_once(weight), wanted(*tensors))


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, smoothing, cap, chunk, wants):
        dtypes = product_dtypes(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            scores = Scores(hidden, weight, bias, wants, dtypes)
            total = torch.zeros((), dtype=scores.wide, device=hidden.device)
            learned = (targets != IGNORE).nonzero().squeeze(1)  # the other rows never reach a product
            for rows in learned.split(chunk):
                logits = scores.of(rows)
                total += _loss_into_gradient(logits, targets[rows], smoothing, cap)
                scores.back_to(rows, logits)
        keep(ctx, scores, (hidden, weight, bias))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, factor):
        return *scaled(ctx, factor), None, None, None, None, None


def _loss_into_gradient(logits: Tensor, targets: Tensor, smoothing: float, cap: float | None = None) -> Tensor:
    """The summed loss of [rows, V] logits, first bounded by `cap`, which become their own gradient in place."""
    size = logits.shape[1]
    targets = targets.unsqueeze(1)
    slope = cap_in_place(logits, cap)
    top = logits.amax(1, keepdim=True)
    aim = (1 - smoothing) * logits.gather(1, targets)
    if smoothing:
        aim += smoothing * logits.mean(1, keepdim=True)
    mass = logits.sub_(top).exp_().sum(1, keepdim=True)
    logits.div_(mass)
    logits.scatter_add_(1, targets, logits.new_full((), smoothing - 1).expand_as(targets))
    if smoothing:
        logits.sub_(smoothing / size)
    if cap is not None:
        logits.mul_(slope)
    return (mass.log_() + top - aim).sum()
