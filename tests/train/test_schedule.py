"""Schedules against values worked out by hand."""

import pytest

from viva.base.choice import names, variant
from viva.train import schedule
from viva.train.schedule import constant, cosine, linear, noam, wsd

# kind, config, steps, {step: factor}
BY_HAND = [
    (constant, {"warmup": 4}, 10, {0: 0.25, 1: 0.5, 3: 1.0, 9: 1.0}),
    (constant, {}, 10, {0: 1.0, 9: 1.0}),
    # 8 steps of fall after 2 of warmup: at step 6 half of it is behind, at step 9 seven eighths
    (linear, {"warmup": 2}, 10, {0: 0.5, 1: 1.0, 2: 1.0, 6: 0.5, 9: 0.125}),
    (linear, {"warmup": 2, "floor": 0.2}, 10, {6: 0.6}),
    # cos(pi / 4) = 0.7071: a quarter of the way the factor is (1 + 0.7071) / 2
    (cosine, {"warmup": 2}, 10, {1: 1.0, 2: 1.0, 4: 0.8535533905932737, 6: 0.5}),
    (cosine, {"warmup": 2, "floor": 0.1}, 10, {2: 1.0, 6: 0.55}),
    # s = step + 1: s / 100 on the way up; at s = 400 it is (400 / 100)^-0.5
    (noam, {"warmup": 100}, 1000, {0: 0.01, 49: 0.5, 99: 1.0, 399: 0.5, 899: 1 / 3}),
    # the last 20 of 100 steps fall: at step 90 half of them are behind
    (wsd, {"warmup": 10, "decay": 0.2}, 100, {4: 0.5, 9: 1.0, 50: 1.0, 80: 1.0, 90: 0.5, 99: 0.05}),
    (wsd, {"decay": 0.2, "floor": 0.5}, 100, {90: 0.75}),
    (wsd, {"decay": 0.0}, 100, {99: 1.0}),
]


@pytest.mark.parametrize(("module", "given", "steps", "expected"), BY_HAND)
def test_by_hand(module, given, steps, expected):
    config = module.Config(**given)
    assert {step: config.factor(step, steps) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize("name", names(schedule.__name__))
def test_every_schedule_stays_within_zero_and_one(name):
    config = variant(schedule.__name__, name).Config(warmup=5)
    factors = [config.factor(step, 50) for step in range(50)]
    assert all(0 < factor <= 1 for factor in factors) and max(factors) == pytest.approx(1)


def test_noam_is_the_paper_up_to_its_peak():
    """Eq. 3 with d_model = 512, warmup = 4000, divided by its value at s = 4000."""
    paper = lambda s: 512**-0.5 * min(s**-0.5, s * 4000**-1.5)  # noqa: E731
    config = noam.Config(warmup=4000)
    for s in (1, 100, 4000, 4001, 100000):
        assert config.factor(s - 1, 100000) == pytest.approx(paper(s) / paper(4000))
