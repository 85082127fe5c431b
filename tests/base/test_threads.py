"""The number of threads is the one told, that of the environment, or the one measured to be the fastest."""

import time

import pytest
import torch

from viva.base import product, threads
from viva.base.errors import Refusal

WEIGHTS = [torch.ones(20, 50), torch.ones(10, 30)]


@pytest.fixture
def measured(monkeypatch):
    """Where nothing says how many: 1, 2, 4 or 6 threads, each of a rate given here."""
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: range(6), raising=False)

    def given(rates):
        asked = []
        monkeypatch.setattr(threads, "rate", lambda weights, count, seconds: asked.append(seconds) or rates[count])
        return asked

    return given


def test_the_fastest_number_is_taken(measured):
    spent = measured({1: 2.0, 2: 3.5, 4: 6.0, 6: 5.0})
    assert threads.choose(WEIGHTS) == ("4", "matrix-vector products with so many threads read 1 2, 2 3.5, 4 6, 6 5"
                                            " billion weights/s")  # fmt: skip
    assert len(spent) == 4 and sum(spent) < 1


def test_one_is_taken_where_more_bring_next_to_nothing(measured):
    measured({1: 2.0, 2: 2.05, 4: 2.0, 6: 0.1})
    assert threads.choose(WEIGHTS).name == "1"


def test_what_is_told_is_not_measured(measured, monkeypatch):
    measured({})
    assert threads.choose(WEIGHTS, 3) == ("3", "as told")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.choose(WEIGHTS, 3).name == "3"
    with threads.using(2):
        assert threads.choose(WEIGHTS) == ("2", "as OMP_NUM_THREADS says")
    with pytest.raises(Refusal, match="threads must be at least 1, but found 0"):
        threads.choose(WEIGHTS, 0)


def test_a_rate_is_of_all_products_and_their_average(monkeypatch):
    """By a product that takes 1 ms for the larger matrix, 1,000 numbers, and 3 ms for the smaller, 300."""
    seen = []

    def slow(x, weight):
        assert x.shape == (1, weight.shape[1]) and product.ROWWISE.get()
        seen.append(torch.get_num_threads())
        time.sleep(0.001 if len(weight) == 20 else 0.003)

    monkeypatch.setattr(product, "product", slow)
    found = threads.rate(WEIGHTS, 2, 0.1)
    assert 0.05 * 325e-6 < found <= 325e-6  # 1.3e-6 of 1e9 in 4 ms; a busy machine sleeps longer
    assert set(seen) == {2} and torch.get_num_threads() != 2
