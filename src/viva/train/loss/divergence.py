"""How far the distribution of one row of scores is from that of another.

With p = softmax(u / t) of a teacher and q = softmax(z / t) of a student, at the temperature t, the generalised
Jensen-Shannon divergence (Agarwal et al. 2023, https://arxiv.org/abs/2306.13649, eq. 1) is

    D = beta KL(p || m) + (1 - beta) KL(q || m),    m = beta p + (1 - beta) q,    dD/dz = q (g - sum_j q_j g_j) / t

with g = (1 - beta) log(q / m). At its ends D stands for what D / beta and D / (1 - beta) tend to: where beta is 0 for
KL(p || q), forward, with g = -p / q and so dD/dz = (q - p) / t; where it is 1 for KL(q || p), reverse, with
g = log(q / p).
"""

from math import log

import torch
from torch import Tensor


def divergence(student: Tensor, teacher: Tensor, beta: float = 0.0, temperature: float = 1.0) -> Tensor:
    """D of each row, in nats; scores [N, V] -> [N]. `beta` in 0..1: 0 is the forward KL divergence, 1 the reverse.

    >>> teacher, student = torch.tensor([[0.75, 0.25]]).log(), torch.zeros(1, 2)
    >>> [round(divergence(student, teacher, beta).item(), 4) for beta in (0.0, 0.5, 1.0)]
    [0.1308, 0.0338, 0.1438]
    """
    q, p = (scores.div(temperature).log_softmax(-1) for scores in (student, teacher))  # as logarithms
    if beta == 0:
        return kl(p, q)
    if beta == 1:
        return kl(q, p)
    m = torch.logaddexp(p + log(beta), q + log(1 - beta))
    return beta * kl(p, m) + (1 - beta) * kl(q, m)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of distributions given by their logarithms, [..., V] -> [...]."""
    return (p.exp() * (p - q)).sum(-1)
