"""Log-probabilities of given tokens under a linear head, and losses of them, without the logits of all tokens.

For a token with state h, target y and head W, at the temperature t,

    z = W h / t,    p = softmax(z),    l = log p_y,    H = -sum_j p_j log p_j
    dl/dz = onehot(y) - p,             dH/dz = -p (log p + H)

A loss L of the log-probabilities of a few rows (a pair of answers, a document) is evaluated while their logits are
there. Its derivatives dL/dl and dL/dH, by autograd on a few numbers a token, give the gradient of the logits at once:
dL/dl dl/dz + dL/dH dH/dz. It needs nothing from above but one factor, so no logits are kept (`_scores`).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from viva.train.loss._scores import Scores, cap_in_place, keep, product_dtypes, rows_at_once, scaled, wanted

GroupLoss = Callable[..., Tensor]  # (group, log-probabilities[, entropies]) -> scalar


@torch.no_grad()
def log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    cap: float | None = None,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """The log-probability of each target, [N] in nats, fp32 or wider, without gradient.

    hidden [N, E], weight [V, E], bias [V], targets [N] in 0..V-1; scores are bounded softly by `cap`, then divided by
    `temperature`. `chunk` rows of logits are held at once. Under autocast the product runs in its dtype.
    """
    dtypes = product_dtypes(hidden)
    with torch.autocast(hidden.device.type, enabled=False):
        scores = Scores(hidden, weight, bias, [False] * 3, dtypes)
        found = [torch.empty(0, dtype=scores.wide, device=hidden.device)]
        for at in range(0, len(targets), size := chunk or rows_at_once(weight)):
            logits, _ = _tempered(scores.of(slice(at, at + size)), cap, temperature)
            found += _distribution(logits, targets[at : at + size, None], entropies=False)[2]
        return torch.cat(found)


def through_log_probs(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    groups: Sequence[int],
    loss: GroupLoss,
    bias: Tensor | None = None,
    cap: float | None = None,
    temperature: float = 1.0,
    entropies: bool = False,
    chunk: int | None = None,
) -> tuple[Tensor, ...]:
    """The sum over groups of `loss`, a scalar in fp32 or wider, with the log-probabilities [N] that it was made of.

    Tensors as in `log_probs`. `groups` are the numbers of consecutive rows that one loss looks at, N in all; for group
    g with n rows, `loss(g, log-probabilities [n])` gives its sum, a scalar. With `entropies` it is also given those of
    the rows' distributions [n], in nats, and they are returned as a third. Gradients go through both into hidden,
    weight and bias; what is returned beside the sum carries none. Groups that fit into `chunk` rows share a product; a
    larger one has all its logits at once.
    """
    tensors = (hidden, weight, bias)
    if sum(groups) != len(targets):
        raise ValueError(f"groups of {sum(groups)} rows in all, for {len(targets)} targets")
    size = chunk or rows_at_once(weight)
    return _ThroughLogProbs.apply(*tensors, targets, groups, loss, cap, temperature, entropies, size, wanted(*tensors))


class _ThroughLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, groups, loss, cap, temperature, entropies, chunk, wants):
        dtypes = product_dtypes(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            scores = Scores(hidden, weight, bias, wants, dtypes)
            total = torch.zeros((), dtype=scores.wide, device=hidden.device)
            measured = torch.empty(1 + entropies, len(targets), dtype=scores.wide, device=hidden.device)
            for first, sizes, rows in _together(groups, chunk):
                logits, slope = _tempered(scores.of(rows), cap, temperature)
                aims = targets[rows, None]
                probabilities, logs, found = _distribution(logits, aims, entropies)
                measured[:, rows] = torch.stack(found)
                value, factors = _derivatives(loss, first, sizes, found)
                total += value
                if any(wants):
                    scores.back_to(rows, _gradient(probabilities, logs, aims, found, factors, slope))
        keep(ctx, scores, (hidden, weight, bias))
        measured = measured.unbind()
        ctx.mark_non_differentiable(*measured)
        return total, *measured

    @staticmethod
    @once_differentiable
    def backward(ctx, factor, *_):
        return *scaled(ctx, factor), *[None] * 8


def _together(groups: Sequence[int], chunk: int) -> list[tuple[int, list[int], slice]]:
    """Consecutive groups whose rows fit into `chunk`: the number of the first, their sizes, their rows.

    >>> _together([2, 3, 9, 1], 5)
    [(0, [2, 3], slice(0, 5, None)), (2, [9], slice(5, 14, None)), (3, [1], slice(14, 15, None))]
    """
    found, at = [], 0
    for number, size in enumerate(groups):
        if found and sum(found[-1][1]) + size <= chunk:
            first, sizes, rows = found.pop()
            found.append((first, [*sizes, size], slice(rows.start, at + size)))
        else:
            found.append((number, [size], slice(at, at + size)))
        at += size
    return found


def _tempered(logits: Tensor, cap: float | None, temperature: float) -> tuple[Tensor, Tensor | float]:
    """The logits bounded and divided by t, in place, with the slope of that."""
    slope = cap_in_place(logits, cap)
    return (logits, slope) if temperature == 1 else (logits.div_(temperature), slope / temperature)


def _distribution(logits: Tensor, aims: Tensor, entropies: bool) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """The probabilities [rows, V], in the place of the logits; with `entropies` their logarithms; of each row the
    log-probability of its target and, with `entropies`, the entropy.
    """
    logits.sub_(logits.amax(1, keepdim=True))
    aimed = logits.gather(1, aims)
    logs = logits.clone() if entropies else None
    mass = logits.exp_().sum(1, keepdim=True)
    probabilities = logits.div_(mass)
    told = (aimed - mass.log_())[:, 0]
    if logs is None:
        return probabilities, None, [told]
    return probabilities, logs.sub_(mass), [told, -torch.linalg.vecdot(probabilities, logs)]


def _derivatives(loss: GroupLoss, first: int, sizes: list[int], found: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The summed loss of the groups from number `first` on, and its derivative by each number found, [rows] each."""
    with torch.enable_grad():
        leaves = [numbers.detach().requires_grad_() for numbers in found]
        parts = zip(*(leaf.split(sizes) for leaf in leaves), strict=True)
        value = sum(loss(number, *part) for number, part in enumerate(parts, start=first))
        return value.detach(), list(torch.autograd.grad(value, leaves, materialize_grads=True))


def _gradient(
    probabilities: Tensor,
    logs: Tensor | None,
    aims: Tensor,
    found: list[Tensor],
    factors: list[Tensor],
    slope: Tensor | float,
) -> Tensor:
    """dL/dz [rows, V], written into a tensor that is given."""
    onto = factors[0][:, None]
    if logs is None:
        gradient = probabilities.mul_(-onto)
    else:
        entropy, by_entropy = found[1][:, None], factors[1][:, None]
        gradient = logs.add_(entropy).mul_(-by_entropy).sub_(onto).mul_(probabilities)
    gradient.scatter_add_(1, aims, onto)
    return gradient if isinstance(slope, float) and slope == 1 else gradient.mul_(slope)
