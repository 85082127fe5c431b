"""The machine's measurements: their arithmetic, and that the choice follows them."""

import pytest

from viva.base import machine


@pytest.mark.parametrize(("rates", "name"), [
    ({"float32": 100.0, "bfloat16": 300.0}, "bfloat16"),
    ({"float32": 100.0, "bfloat16": 110.0}, "float32"),  # not worth the loss of precision
    ({"float32": 100.0, "bfloat16": 5.0}, "float32"),
])  # fmt: skip
def test_the_choice_follows_the_measurement(monkeypatch, rates, name):
    monkeypatch.setattr(machine, "matrix_rate", lambda dtype, on: rates[dtype])
    chosen = machine.faster.__wrapped__("cpu")
    assert chosen.name == name
    assert chosen.why.startswith("matrix products on this cpu reach float32 100, bfloat16 ")


def test_rates_are_work_over_time(monkeypatch):
    """A product of 1024 x 1024 matrices is 2 * 1024^3 operations; in 1 s that is 2.147 GFLOP/s."""
    monkeypatch.setattr(machine, "shortest", lambda run, on, budget=1: run() is None or 1.0)
    monkeypatch.setitem(machine.READ_BYTES, "cpu", 2**20)
    assert machine.matrix_rate.__wrapped__("float32", "cpu") == pytest.approx(2.147483648)
    assert machine.read_rate.__wrapped__("cpu") == pytest.approx(2**20 / 1e9)
    assert machine.weight_rate.__wrapped__("float32", "cpu") == pytest.approx(2**18 / 1e9)
