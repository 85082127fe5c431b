"""Every mask: what it hides has no influence and no gradient, and each kernel computes what the boolean form says."""

from collections.abc import Callable

import pytest
import torch

from viva.base.choice import names
from viva.model.attend import attend, dense, halves
from viva.model.layout import Layout
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.document import Document
from viva.model.mask.window import Window

B, H, G, T, D = 2, 4, 2, 16, 8
LENGTHS = ((5, 11), (3, 4, 9))
EXAMPLES: dict[str, Mask] = {
    "causal": Causal(),
    "window": Causal() & Window(4),
    "document": Causal() & Document(LENGTHS),
    "all": Causal() & Window(4) & Document(LENGTHS),
}
# the same, said once more in a line each: who may see whom
RULES: dict[str, Callable[[int, int, int], bool]] = {
    "causal": lambda b, q, k: k <= q,
    "window": lambda b, q, k: q - 4 < k <= q,
    "document": lambda b, q, k: k <= q and document(b, q) == document(b, k),
    "all": lambda b, q, k: q - 4 < k <= q and document(b, q) == document(b, k),
}


def document(row: int, place: int) -> int:
    ends = torch.tensor(LENGTHS[row]).cumsum(0)
    return int((ends <= place).sum())


def inputs(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, heads, T, D, generator=generator, dtype=torch.float64) for heads in (H, G, G)]


def layout(mask: Mask) -> Layout:
    packed = any(isinstance(part, Document) for part in mask.parts)
    return Layout.packed(LENGTHS, T) if packed else Layout.one_document(T)


def reference(q, k, v, allowed):
    """Attention written out, key heads repeated for their groups."""
    k, v = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    scores = (q @ k.mT / D**0.5).masked_fill(~allowed[:, None], -torch.inf)
    return scores.softmax(-1) @ v


def test_every_mask_is_here():
    used = {type(part).__name__.lower() for mask in EXAMPLES.values() for part in mask.parts}
    assert used == set(names("viva.model.mask"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_mask_allows_what_its_rule_says(name):
    places = torch.arange(T)
    allowed = EXAMPLES[name].allows(places[None], places).expand(B, T, T)
    expected = torch.tensor([[[RULES[name](b, q, k) for k in range(T)] for q in range(T)] for b in range(B)])
    assert torch.equal(allowed, expected)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_kernel_chosen_equals_attention_written_out(name):
    mask, (q, k, v) = EXAMPLES[name], inputs()
    tensors = [x.requires_grad_() for x in (q, k, v)]
    expected = reference(q, k, v, mask.allows(torch.arange(T)[None], torch.arange(T)).expand(B, T, T))
    found = attend(q, k, v, mask, layout(mask))
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, dtype=found.dtype, generator=torch.Generator().manual_seed(9))
    for mine, theirs in zip(
        torch.autograd.grad((found * weight).sum(), tensors),
        torch.autograd.grad((expected * weight).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_hidden_has_no_influence_and_no_gradient(name):
    mask, (q, k, v) = EXAMPLES[name], inputs()
    k, v = k.requires_grad_(), v.requires_grad_()
    query = 9
    out = attend(q, k, v, mask, layout(mask))[:, :, query]
    by_k, by_v = torch.autograd.grad(out.square().sum(), (k, v))
    hidden = torch.tensor([[not RULES[name](b, query, key) for key in range(T)] for b in range(B)])
    for gradient in (by_k, by_v):
        of_key = gradient.abs().sum((1, 3))
        assert (of_key[hidden] == 0).all() and (of_key[~hidden] > 0).all()
    noise = torch.where(hidden[:, None, :, None], 1e3, 0.0)
    again = attend(q, k + noise, v + noise, mask, layout(mask))[:, :, query]
    assert torch.equal(again, out)


@pytest.mark.parametrize("T", [1, 40, 128, 200])
def test_half_precision_training_is_as_exact_as_its_dtype(T):
    """Against fp64, the gradients are off by at most 1 % of their norm (a rounding step of bf16 is 0.4 %)."""
    generator = torch.Generator().manual_seed(1)
    exact = [torch.randn(3, H, T, 16, dtype=torch.float64, generator=generator) for _ in range(3)]
    weight = torch.randn(3, H, T, 16, dtype=torch.float64, generator=generator)

    def gradients(function, dtype):
        tensors = [x.to(dtype).requires_grad_() for x in exact]
        return torch.cat([g.double() for g in torch.autograd.grad(function(*tensors), tensors, weight.to(dtype))])

    fused = lambda *x: torch.nn.functional.scaled_dot_product_attention(*x, is_causal=True)  # noqa: E731
    truth = gradients(fused, torch.float64)
    assert halves.suits(exact[0].bfloat16(), 0.0) and not halves.suits(exact[0].float(), 0.0)
    error = gradients(halves.attend, torch.bfloat16) - truth
    assert error.norm() <= 0.01 * truth.norm()


def test_a_window_alone_looks_ahead():
    """However wide it is, it is not the causal mask."""
    q, k, v = inputs()
    places = torch.arange(T)[None]
    found = dense.attend(q, k, v, Window(T), places, aligned=True)
    torch.testing.assert_close(found, reference(q, k, v, torch.ones(B, T, T, dtype=torch.bool)))


def test_one_new_token_sees_the_whole_cache():
    q, k, v = inputs()
    allowed = torch.ones(B, 1, T, dtype=torch.bool)
    found = dense.attend(q[:, :, -1:], k, v, Causal(), torch.tensor([[T - 1]]), aligned=True)
    torch.testing.assert_close(found, reference(q[:, :, -1:], k, v, allowed))


@pytest.mark.parametrize(("mask", "queries"), [(Causal(), T), (Causal() & Window(4), T), (Causal(), 1)])
def test_dropout_falls_on_the_weights_in_every_form(mask, queries):
    """With 90 % dropped two passes differ, whatever form the mask is handed over in."""
    q, k, v = inputs()
    places = torch.arange(T - queries, T)[None]
    first, second = (dense.attend(q[:, :, -queries:], k, v, mask, places, True, dropout=0.9) for _ in range(2))
    assert not torch.equal(first, second)
