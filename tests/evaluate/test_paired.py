"""Intervals and the paired test beside scipy's, and by hand."""

import pytest
from scipy.stats import binomtest

from viva.base.errors import Refusal
from viva.evaluate.paired import Paired, wilson


@pytest.mark.parametrize(("right", "asked"), [(0, 10), (1, 3), (8, 10), (299, 750), (750, 750)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilsons_interval_is_scipys(right, asked, confidence):
    theirs = binomtest(right, asked).proportion_ci(confidence, method="wilson")
    assert wilson(right, asked, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (9, 1), (1, 9), (5, 5), (76, 41), (900, 700)])
def test_the_paired_test_is_scipys(gained, lost):
    """Of the answers that differ, half would be gains by chance."""
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert Paired(gained, lost).p == pytest.approx(expected, rel=1e-9)


def test_only_answers_that_differ_count():
    """Right, wrong, right, wrong, wrong; then right, right, wrong, right, wrong."""
    before, after = [True, False, True, False, False], [True, True, False, True, False]
    assert Paired.of(before, after) == Paired(gained=2, lost=1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(Refusal, match=r"asked the same .* but found 2 and 1 answers"):
        Paired.of([True, False], [True])
    with pytest.raises(Refusal, match="among those that were given, but found 0 of 0"):
        wilson(0, 0)
