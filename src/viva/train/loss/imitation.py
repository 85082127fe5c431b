"""What a student learns of each answer: the right one, and how likely the teacher finds them all.

    hard = -log q_y,    soft = t^2 D(q, p)

with the divergence D of their distributions at the temperature t (loss/divergence.py). The gradient of D by the scores
shrinks as 1 / t^2, which t^2 makes up for (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy

from viva.train.loss._scores import Scores, capped, keep, product_dtypes, rows_at_once, scaled, wanted
from viva.train.loss.divergence import divergence


class Scored(NamedTuple):
    """States [N, E], and what scores them: a matrix [V, E], a bias [V], a `cap` that bounds the scores softly."""

    states: Tensor
    weight: Tensor
    bias: Tensor | None = None
    cap: float | None = None


class Blend(NamedTuple):
    """`beta` and `temperature` of the divergence; what `hard` and `soft` weigh in the sum of the two."""

    hard: float
    soft: float
    beta: float = 0.0
    temperature: float = 1.0


def imitation(student: Tensor, teacher: Tensor, targets: Tensor, how: Blend) -> tuple[Tensor, Tensor]:
    """(hard and soft weighed together, the two without weights [2]), summed over rows of scores [N, V]; targets [N] in
    0..V-1. The second is for the record: no gradient goes through it.
    """
    hard = cross_entropy(student, targets, reduction="sum")
    soft = how.temperature**2 * divergence(student, teacher, how.beta, how.temperature).sum()
    return how.hard * hard + how.soft * soft, torch.stack((hard, soft)).detach()


def linear_imitation(
    student: Scored, teacher: Scored, targets: Tensor, how: Blend, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """`imitation` of linear heads over one vocabulary, of which `chunk` rows of both scores are held at once.

    Gradients go to the student's states, weight and bias, in one product each. Under autocast the products run in its
    dtype, the rest in fp32 or wider.
    """
    tensors = (student.states, student.weight, student.bias)
    chunk = chunk or rows_at_once(student.weight)
    return _LinearImitation.apply(*tensors, student.cap, teacher, targets, how, chunk, wanted(*tensors))


class _LinearImitation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, cap, teacher, targets, how, chunk, wants):
        dtypes = product_dtypes(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            mine = Scores(hidden, weight, bias, wants, dtypes)
            theirs = Scores(*teacher[:3], [False] * 3, dtypes)
            total, parts = (torch.zeros(size, dtype=mine.wide, device=hidden.device) for size in ((), 2))
            for at in range(0, len(targets), chunk):
                rows = slice(at, at + chunk)
                with torch.enable_grad():
                    leaf = mine.of(rows).requires_grad_()
                    aims = capped(theirs.of(rows), teacher.cap)
                    value, both = imitation(capped(leaf, cap), aims, targets[rows], how)
                total += value.detach()
                parts += both
                if any(wants):
                    mine.back_to(rows, torch.autograd.grad(value, leaf)[0])
        keep(ctx, mine, (hidden, weight, bias))
        ctx.mark_non_differentiable(parts)
        return total, parts

    @staticmethod
    @once_differentiable
    def backward(ctx, factor, _):
        return *scaled(ctx, factor), *[None] * 6
