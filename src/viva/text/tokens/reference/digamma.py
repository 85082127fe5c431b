"""The digamma function, which Unigram's maximisation needs (Abramowitz and Stegun 1964, section 6.3)."""

from math import log


def digamma(x: float) -> float:
    """The derivative of log Gamma for x > 0, by its recurrence up to 7 and an asymptotic series in x - 1/2 above."""
    shift = 0.0
    while x < 7:
        shift, x = shift - 1 / x, x + 1
    x -= 0.5
    return shift + log(x) + 1 / (24 * x**2) - 7 / (960 * x**4) + 31 / (8064 * x**6) - 127 / (30720 * x**8)
