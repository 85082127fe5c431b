"""Whether replies keep their bits in company is seen, not supposed."""

import pytest
import torch
from torch.nn import functional

from infer.serving import random_model, tiny
from infer.test_engine import attending
from viva.base import product
from viva.infer.engine import company
from viva.model.score import additive


@pytest.fixture(autouse=True)
def seen_anew():
    company.harmless.cache_clear()
    yield
    company.harmless.cache_clear()


@pytest.mark.skipif(not product.exact(torch.ones(1)), reason="torch has no oneDNN here")
def test_here_it_changes_no_bit():
    assert company.harmless()


def test_additive_scores_are_told_apart():
    """Theirs differ by up to 1e-6 (tests/infer/test_engine.py)."""
    assert company.harmless_to(tiny("llama")) == company.harmless()
    assert not company.harmless_to(random_model(attending(score=additive.Config())))


def test_a_product_that_adds_up_many_rows_otherwise_is_seen(monkeypatch):
    """By a millionth."""

    def otherwise(x, weight, bias=None):
        return functional.linear(x, weight, bias) * (1 + 2**-20 * (x.numel() > 40 * x.shape[-1]))

    monkeypatch.setattr(product, "alone", otherwise)
    assert not company.harmless()
