"""Attention of documents of any lengths by one kernel: what it is told, beside a stand-in that reads it so; and the
kernel itself, where there is a GPU.
"""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from viva.model.attend import Weighing, packed, varlen
from viva.model.mask.causal import Causal
from viva.model.mask.full import Full
from viva.model.mask.window import Window
from viva.model.score.dot import Dot

B, H, G, D = 2, 6, 2, 8
DOCUMENTS, OTHERS = ((5, 1, 2, 1), (2, 7)), ((4, 2, 1, 2), (6, 3))
HOW = Weighing(Dot(D**-0.5, None))
MASKS = {"full": Full(), "causal": Causal(), "window": Causal() & Window(3), "narrow": Window(2) & Causal() & Window(4)}


def drawn(documents, heads: int, width: int = D, dtype=torch.float64) -> torch.Tensor:
    shape = (len(documents), heads, sum(documents[0]), width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(heads), dtype=dtype)


def stand_in(q, k, v, queries, keys, longest, longest_key, causal, scale, seen):
    """One document after another, as the kernel's description says: `seen` keys before a query's own, -1 for all."""
    out = []
    spans = [list(zip(each[:-1].tolist(), each[1:].tolist(), strict=True)) for each in (queries, keys)]
    assert longest == max(end - start for start, end in spans[0])
    assert longest_key == max(end - start for start, end in spans[1])
    for mine, theirs in zip(*spans, strict=True):
        part, *seen_parts = (x[slice(*span)].transpose(0, 1) for x, span in ((q, mine), (k, theirs), (v, theirs)))
        apart = torch.arange(part.shape[1])[:, None] - torch.arange(seen_parts[0].shape[1])
        allowed = (apart >= 0 if causal else apart == apart) & (apart <= seen if seen >= 0 else apart == apart)
        key, value = (x.repeat_interleave(H // G, dim=0) for x in seen_parts)
        out.append(scaled_dot_product_attention(part, key, value, allowed, scale=scale).transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("name", MASKS)
def test_the_kernel_is_told_of_each_document_and_its_mask(name, monkeypatch):
    monkeypatch.setattr(varlen, "kernel", stand_in)
    q, k, v = drawn(DOCUMENTS, H), drawn(DOCUMENTS, G), drawn(DOCUMENTS, G + 1)[:, :G]
    found = varlen.attend(q, k, v, MASKS[name], DOCUMENTS, DOCUMENTS, HOW)
    torch.testing.assert_close(found, packed.attend(q, k, v, MASKS[name], DOCUMENTS, None, HOW))


def test_a_document_is_told_of_its_partner_of_another_length(monkeypatch):
    monkeypatch.setattr(varlen, "kernel", stand_in)
    q, k, v = drawn(DOCUMENTS, H), drawn(OTHERS, G), drawn(OTHERS, G + 1)[:, :G]
    found = varlen.attend(q, k, v, Full(), DOCUMENTS, OTHERS, HOW)
    torch.testing.assert_close(found, packed.attend(q, k, v, Full(), DOCUMENTS, OTHERS, HOW))


def test_it_is_for_masks_that_the_kernel_knows_and_for_products():
    assert all(varlen._known(mask) for mask in MASKS.values())
    assert not varlen._known(Window(3))  # it would look forward as well
    assert not varlen._known(Causal() | Window(3))
    q = drawn(DOCUMENTS, H)
    assert varlen.attend(q, q, q, Causal(), DOCUMENTS, DOCUMENTS, Weighing(Dot(1.0, cap=30.0))) is None
    assert varlen.attend(q, q, q, Causal(), DOCUMENTS, DOCUMENTS, HOW._replace(keep={}, name="0")) is None
    assert not varlen.suits(q.bfloat16(), Causal(), HOW)  # on a CPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", MASKS)
def test_on_a_gpu_it_computes_what_the_buckets_do(name):
    """No further from fp64 than twice what the buckets are in the same half precision: values and gradients."""

    def run(attend, dtype):
        leaves = [
            drawn(DOCUMENTS, heads, 64)[:, :count].to("cuda", dtype).requires_grad_()
            for heads, count in ((H, H), (G, G), (G + 1, G))
        ]
        how = Weighing(Dot(64**-0.5, None))
        out = attend(*leaves, MASKS[name], how)
        out.square().sum().backward()
        return [x.double() for x in (out.detach(), *(leaf.grad for leaf in leaves))]

    one = lambda q, k, v, mask, how: varlen.attend(q, k, v, mask, DOCUMENTS, DOCUMENTS, how)  # noqa: E731
    plan = packed.plan(DOCUMENTS, None, torch.device("cuda", 0))
    buckets = lambda q, k, v, mask, how: packed._in_buckets(q, k, v, mask, plan, how)  # noqa: E731
    assert varlen.suits(drawn(DOCUMENTS, H, 64).to("cuda", torch.bfloat16), MASKS[name], HOW)
    exact = run(buckets, torch.float64)
    ours, theirs = (run(each, torch.bfloat16) for each in (one, buckets))
    for right, mine, other in zip(exact, ours, theirs, strict=True):
        assert (mine - right).abs().max() <= 2 * (other - right).abs().max() + 1e-3 * right.abs().max()
