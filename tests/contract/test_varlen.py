"""Attention of documents of any lengths by one kernel: what it is told, beside a stand-in that reads it so; and the
kernel itself, where there is a GPU.
"""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from viva.model.attend import Weighing, packed, varlen
from viva.model.mask.causal import Causal
from viva.model.mask.full import Full
from viva.model.mask.padding import Padding
from viva.model.mask.window import Window
from viva.model.position import Placed
from viva.model.score.dot import Dot

B, H, G, D = 2, 6, 2, 8
DOCUMENTS, OTHERS = ((5, 1, 2, 1), (2, 7)), ((4, 2, 1, 2), (6, 3))
HOW = Weighing(Dot(0.3, None))
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
    found = varlen.told(q, k, v, 0.3, MASKS[name], DOCUMENTS, DOCUMENTS)
    torch.testing.assert_close(found, packed.attend(q, k, v, MASKS[name], DOCUMENTS, None, HOW))


def test_a_document_is_told_of_its_partner_of_another_length(monkeypatch):
    monkeypatch.setattr(varlen, "kernel", stand_in)
    q, k, v = drawn(DOCUMENTS, H), drawn(OTHERS, G), drawn(OTHERS, G + 1)[:, :G]
    found = varlen.told(q, k, v, 0.3, Full(), DOCUMENTS, OTHERS)
    torch.testing.assert_close(found, packed.attend(q, k, v, Full(), DOCUMENTS, OTHERS, HOW))


def test_it_is_for_masks_heads_and_weights_that_the_kernel_knows():
    assert all(varlen.computes(64, mask, HOW) for mask in MASKS.values())
    for width in (60, 256):
        assert not varlen.computes(width, Causal(), HOW)
    for mask in (Window(3), Causal() | Window(3), Causal() & Padding((3, 4))):  # Window alone would look forward too
        assert not varlen.computes(64, mask, HOW)
    alibi = Placed(SimpleNamespace(biased=True), None)
    for how in (HOW._replace(dropout=0.1), HOW._replace(keep={}, name="0"), HOW._replace(placed=alibi)):
        assert not varlen.computes(64, Causal(), how)
    assert varlen.computes(64, Causal(), HOW._replace(placed=Placed(SimpleNamespace(biased=False), None)))


def test_it_multiplies_in_half_precision_alone():
    """In that of autocast, whatever the tensors are, which a kernel of torch's own would be given cast."""
    wide, half = torch.ones(1), torch.ones(1, dtype=torch.bfloat16)
    assert varlen.half_of(half, half, half) == torch.bfloat16
    assert varlen.half_of(half, wide, wide) is None and varlen.half_of(wide, wide) is None
    assert varlen.half_of(half, half.half()) is None
    with torch.autocast("cpu", torch.float16):
        assert varlen.half_of(half, wide, wide) == torch.float16


def test_on_a_cpu_there_is_none():
    q = drawn(DOCUMENTS, H)
    assert varlen.attend(q.bfloat16(), q.bfloat16(), q.bfloat16(), Causal(), DOCUMENTS, DOCUMENTS, HOW) is None


def test_what_was_read_with_can_be_learned_with():
    with torch.inference_mode():
        bounds, longest = varlen._bounds(((1, 8), (9,)), torch.device("cpu"))
    assert bounds.tolist() == [0, 1, 9, 18] and longest == 9
    assert not bounds.is_inference()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width", [64, 136])
@pytest.mark.parametrize("name", [*MASKS, "partners"])
def test_on_a_gpu_it_computes_what_the_buckets_do(name, width, dtype):
    """No further from fp64 than twice what the buckets are in the same half precision: values and gradients. The
    longest documents take several of the kernel's blocks, and the windows leave some of these out.
    """
    documents = ((300, 1, 70), (171, 200))
    others = ((40, 260, 71), (1, 370)) if name == "partners" else documents
    masks = {**MASKS, "partners": Full(), "narrow": Causal() & Window(100)}

    def run(dtype, attend):
        given = drawn(documents, H, width), drawn(others, G, width), drawn(others, G + 1, width)[:, :G]
        leaves = [x.to("cuda", dtype).requires_grad_() for x in given]
        out = attend(*leaves, masks[name])
        out.square().sum().backward()
        return [x.double() for x in (out.detach(), *(leaf.grad for leaf in leaves))]

    def one(q, k, v, mask):
        out = varlen.attend(q, k, v, mask, documents, others, HOW)
        assert out is not None
        return out

    plan = packed.plan(documents, others, torch.device("cuda", 0))
    buckets = lambda q, k, v, mask: packed._in_buckets(q, k, v, mask, plan, HOW)  # noqa: E731
    exact, ours, theirs = run(torch.float64, buckets), run(dtype, one), run(dtype, buckets)
    for right, mine, other in zip(exact, ours, theirs, strict=True):
        assert (mine - right).abs().max() <= 2 * (other - right).abs().max() + 1e-3 * right.abs().max()
