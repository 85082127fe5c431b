"""Cross-entropy of a few classes, with the two remedies for classes of unequal size: weights, and focus."""

import torch
from torch import Tensor

from viva.train.loss import IGNORE


def class_cross_entropy(
    scores: Tensor, targets: Tensor, weights: Tensor | None = None, gamma: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """The sum over rows of -(1 - p_y)^gamma sum_c q_c w_c log p_c; scores [N, C], targets [N] in 0..C-1 or IGNORE.

    q is 1 for the target y, of which `smoothing` spreads a share over all classes (Szegedy et al. 2016). gamma > 0 is
    the focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 5): what is already told right counts less.
    """
    learned = targets != IGNORE
    scores, targets = scores[learned].float(), targets[learned]
    logs = scores.log_softmax(-1)
    right = lambda of: of.gather(1, targets[:, None])[:, 0]  # noqa: E731
    weighed = logs if weights is None else logs * weights.to(scores)
    aim = (1 - smoothing) * right(weighed) + smoothing * weighed.mean(1) if smoothing else right(weighed)
    # where p is 1, the slope of a power below 1 has no bound, and 0 times that is NaN
    wrong = (1 - right(logs).exp()).clamp_min(torch.finfo(logs.dtype).tiny)
    focus = wrong**gamma if gamma else 1.0
    return -(focus * aim).sum()


def balanced(counts: Tensor) -> Tensor:
    """Weights [C] in inverse proportion to the classes' counts, whose mean over all examples is 1 (King and Zeng 2001).

    >>> balanced(torch.tensor([1, 3]))
    tensor([2.0000, 0.6667])
    """
    return counts.sum() / (len(counts) * counts.clamp_min(1).to(torch.float32))
