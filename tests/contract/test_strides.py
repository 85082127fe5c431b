"""Attention by kernels whose results lie otherwise in memory, as those of a GPU do."""

import pytest
import torch

from viva.model.attend import Weighing, dense
from viva.model.mask.causal import Causal
from viva.model.score import dot


@pytest.mark.parametrize("T", [1, 5])
def test_where_a_result_lies_is_no_matter(T, monkeypatch):
    q, k, v = (torch.randn(2, n, length, 8) for n, length in ((4, T), (2, 5), (2, 5)))
    places = torch.arange(5 - T, 5)[None]
    attend = lambda: dense.attend(q, k, v, Causal(), places, True, Weighing(dot.Config().build(8, 4)))  # noqa: E731
    expected, kernel = attend(), dense.scaled_dot_product_attention
    laid = lambda *given, **how: kernel(*given, **how).transpose(1, 2).contiguous().transpose(1, 2)  # noqa: E731
    monkeypatch.setattr(dense, "scaled_dot_product_attention", laid)
    assert torch.equal(attend(), expected)
