"""How far two distributions of a word are apart, both of which learn (R-Drop, Liang et al. 2021,
https://arxiv.org/abs/2106.14448, eq. 4). With the scores z and u that one head gives two states of a token,
p = softmax(z) and q = softmax(u),

    l = (KL(p || q) + KL(q || p)) / 2 = sum_c (p_c - q_c) (log p_c - log q_c) / 2

Its gradients by the scores need nothing from above but one factor, so they are taken in the forward pass (`_scores`).
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viva.train.loss._scores import Scores, capped, keep, product_dtypes, rows_at_once, scaled, wanted
from viva.train.loss.divergence import kl


def disagreement(one: Tensor, other: Tensor) -> Tensor:
    """The sum of l over rows of scores [N, C], in nats."""
    p, q = (scores.log_softmax(-1) for scores in (one, other))
    return (kl(p, q) + kl(q, p)).sum() / 2


def linear_disagreement(
    one: Tensor,
    other: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    cap: float | None = None,
    chunk: int | None = None,
) -> Tensor:
    """The same of states [N, E] that a head [V, E] scores, bounded softly by `cap`; of both `chunk` rows of scores are
    held at once. Under autocast the products run in its dtype, the rest in fp32 or wider.
    """
    tensors = (torch.cat((one, other)), weight, bias)
    return _LinearDisagreement.apply(*tensors, cap, chunk or rows_at_once(weight), wanted(*tensors))


class _LinearDisagreement(torch.autograd.Function):
    @staticmethod
    def forward(ctx, both, weight, bias, cap, chunk, wants):
        dtypes = product_dtypes(both)
        with torch.autocast(both.device.type, enabled=False):
            scores = Scores(both, weight, bias, wants, dtypes)
            total = torch.zeros((), dtype=scores.wide, device=both.device)
            for pair in torch.arange(len(both), device=both.device).view(2, -1).split(chunk, 1):
                with torch.enable_grad():
                    leaves = [scores.of(rows).requires_grad_() for rows in pair]
                    apart = disagreement(*(capped(leaf, cap) for leaf in leaves))
                total += apart.detach()
                for rows, gradient in zip(pair, torch.autograd.grad(apart, leaves), strict=True):
                    scores.back_to(rows, gradient)
        keep(ctx, scores, (both, weight, bias))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, factor):
        return *scaled(ctx, factor), None, None, None
