"""What is measured of pairs of answers and of how much more the chosen one is worth."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

CONFIDENCE = 0.95
BINS = 10  # of confidence, between 1/2 and 1


@dataclass(frozen=True)
class Share:
    """`right` of `count`, and the 95 % interval [low, high] of the true share, by Wilson's score (Wilson 1927)."""

    right: float
    count: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.right / self.count if self.count else float("nan")


def share(right: np.ndarray) -> Share:
    """Of verdicts [N], true or false, or 1/2 where nothing was told.

    >>> found = share(np.array([1] * 8 + [0] * 2))
    >>> round(found.value, 3), round(found.low, 4), round(found.high, 4)
    (0.8, 0.4902, 0.9433)
    """
    from scipy.stats import norm

    n, hits = len(right), float(np.sum(right))
    if not n:
        return Share(0.0, 0, 0.0, 1.0)
    z, p = norm.ppf((1 + CONFIDENCE) / 2), hits / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle + sign * half for sign in (-1, 1))
    return Share(hits, n, float(low / (1 + z**2 / n)), float(high / (1 + z**2 / n)))


def told_right(margins: np.ndarray) -> np.ndarray:
    """1 where the chosen answer is worth more, 1/2 where both are worth the same: a coin is right as often."""
    return (1 + np.sign(margins)) / 2


@dataclass(frozen=True)
class Bin:
    """Pairs whose confidence lies from `low` to `high`: how many, the mean of it, and the share told right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """`error` is the expected calibration error (Naeini et al. 2015): the mean of |confidence - accuracy| of the bins,
    weighed by their pairs. Confidence is sigma(|d|), the probability that the model gives its own choice.
    """

    bins: list[Bin]
    confidence: float
    error: float


def calibration(margins: np.ndarray) -> Calibration:
    """Of margins [N]."""
    sure, right = 1 / (1 + np.exp(-np.abs(margins))), told_right(margins)
    edges = np.linspace(0.5, 1, BINS + 1)
    of = np.clip(np.digitize(sure, edges) - 1, 0, BINS - 1)
    bins = [
        Bin(float(low), float(high), int(inside.sum()), float(sure[inside].mean()), float(right[inside].mean()))
        for number, (low, high) in enumerate(pairwise(edges))
        if (inside := of == number).any()
    ]
    error = sum(found.count * abs(found.confidence - found.accuracy) for found in bins) / len(margins)
    return Calibration(bins, float(sure.mean()), error)


@dataclass(frozen=True)
class Length:
    """What rewards have to do with length in tokens.

    `correlation`: Spearman's, of rewards with lengths; `apart`: of how much more the chosen answer is worth with how
    much longer it is. `judges`, `model`: the share of pairs, of those with answers of unequal length, in which each
    prefers the longer one. `short`, `long`: the share told right where the shorter, or the longer, one is chosen.
    `chance`: how likely these two shares differ so much by chance, by Fisher's exact test (1922): where judges mostly
    choose the longer answer, errors of any model are mostly there, and only their share tells. `lean`: how likely
    `judges` and `model` do, by McNemar's exact test: the pairs in which just one of the two prefers the longer answer
    are those told wrong.
    """

    correlation: float
    apart: float
    judges: float
    model: float
    short: Share
    long: Share
    chance: float
    lean: float


def length(rewards: np.ndarray, lengths: np.ndarray) -> Length | None:
    """Of rewards [N, 2] and lengths [N, 2] in tokens, the chosen answer's first; None where both answers of every pair
    are equally long.
    """
    margins, longer = rewards[:, 0] - rewards[:, 1], lengths[:, 0] - lengths[:, 1]
    right, unequal = told_right(margins), longer != 0
    if not unequal.any():
        return None
    short, long = right[longer < 0], right[longer > 0]
    return Length(
        correlation=_ranked(rewards.ravel(), lengths.ravel()),
        apart=_ranked(_both_ways(margins), _both_ways(longer)),
        judges=float((longer[unequal] > 0).mean()),
        model=float(told_right(margins * longer)[unequal].mean()),
        short=share(short),
        long=share(long),
        chance=_alike(short, long),
        lean=even(int((short == 0).sum()), int((long == 0).sum())),
    )


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """How likely two groups of verdicts with one share of right ones in truth differ so much; coins do not count."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[int((each == told).sum()) for told in (1, 0)] for each in (one, other)]).pvalue)


def even(one: int, other: int) -> float:
    """How likely a fair coin falls so unevenly: the exact test of McNemar (1947).

    >>> round(even(9, 1), 4), even(3, 3)
    (0.0215, 1.0)
    """
    from scipy.stats import binomtest

    return float(binomtest(one, one + other).pvalue) if one + other else 1.0


def _both_ways(values: np.ndarray) -> np.ndarray:
    """With every pair read from either side, for which of two answers is called the first means nothing."""
    return np.concatenate([values, -values])


def _ranked(values: np.ndarray, others: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where one of the two does not change."""
    from scipy.stats import spearmanr

    if not np.ptp(values) or not np.ptp(others):
        return 0.0
    return float(spearmanr(values, others).statistic)
