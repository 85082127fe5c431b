"""How sure a share of right answers is, and whether two models that were asked the same differ in theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

from viva.base.errors import Refusal


@dataclass(frozen=True)
class Paired:
    """How many answers became right and how many wrong; the others are as they were."""

    gained: int
    lost: int

    @classmethod
    def of(cls, before: Sequence[bool], after: Sequence[bool]) -> "Paired":
        """Of whether each question was answered right, before and after; refused where these are not as many."""
        if len(before) != len(after):
            found, fix = f"{len(before)} and {len(after)} answers", "ask both models the same questions"
            raise Refusal("two models must have been asked the same to be compared in pairs", found, fix)
        pairs = list(zip(before, after, strict=True))
        return cls(pairs.count((False, True)), pairs.count((True, False)))

    @property
    def p(self) -> float:
        """How likely a difference this large or larger, in either direction, would be if both were as good: the exact
        form of the test of McNemar (1947, Psychometrika 12), a sign test over the answers that differ.

        >>> Paired(9, 1).p
        0.021484375
        """
        n = self.gained + self.lost
        tail = sum(comb(n, k) for k in range(max(self.gained, self.lost), n + 1))
        return min(1.0, 2 * tail / 2**n)


def wilson(right: int, asked: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the share of right answers, of which `right` of `asked` are a sample (Wilson 1927, Journal of the
    American Statistical Association 22).

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    if not 0 <= right <= asked or not asked:
        must = "an interval must be of right answers among those that were given"
        raise Refusal(must, f"{right} of {asked}", "ask at least one question")
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), right / asked
    middle = share + z**2 / (2 * asked)
    half = z * sqrt(share * (1 - share) / asked + z**2 / (4 * asked**2))
    low, high = ((middle + sign * half) / (1 + z**2 / asked) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)
