"""A reward model beside a baseline, on the same pairs."""

from dataclasses import dataclass

import numpy as np

from viva.evaluate.reward.measures import Share, even, share, told_right


@dataclass(frozen=True)
class Beside:
    """`accuracy` of the baseline; `ahead`: by what share of the pairs the model tells more right; `chance`: how likely
    the pairs that just one of the two tells right are so unevenly theirs by chance.
    """

    accuracy: Share
    ahead: float
    chance: float


def beside(margins: np.ndarray, others: np.ndarray) -> Beside:
    """The model's margins [N] beside the baseline's."""
    ours, theirs = told_right(margins), told_right(others)
    only = (int((ours > theirs).sum()), int((ours < theirs).sum()))
    return Beside(share(theirs), float((ours - theirs).mean()), even(*only))
