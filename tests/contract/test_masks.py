"""Every mask: what it hides has no influence and no gradient, and each kernel computes what the boolean form says."""

from collections.abc import Callable

import pytest
import torch

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.model.attend import Weighing, dense, halves, packed
from viva.model.mask import Mask
from viva.model.mask.block import Block
from viva.model.mask.branches import Branches
from viva.model.mask.causal import Causal
from viva.model.mask.document import Document
from viva.model.mask.full import Full
from viva.model.mask.given import Given
from viva.model.mask.other import Other
from viva.model.mask.padding import Padding
from viva.model.mask.prefix import Prefix
from viva.model.mask.window import Window
from viva.model.score import dot

B, H, G, T, D = 2, 4, 2, 16, 8
LENGTHS = ((5, 11), (3, 4, 9))
PADDED, PREFIX = (16, 11), (4, 7)
BRANCHES = ((0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3), (0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2))
TABLE = torch.rand(B, T, T, generator=torch.Generator().manual_seed(7)) < 0.4
TABLE[0, 3] = False  # a query that may see nothing
DOT = Weighing(dot.Config().build(D, H))


def document(row: int, place: int) -> int:
    ends = torch.tensor(LENGTHS[row]).cumsum(0)
    return int((ends <= place).sum())


# each mask, and the same said once more in a line: who may see whom
EXAMPLES: dict[str, tuple[Mask, Callable[[int, int, int], bool]]] = {
    "full": (Full(), lambda b, q, k: True),
    "causal": (Causal(), lambda b, q, k: k <= q),
    "window": (Causal() & Window(4), lambda b, q, k: q - 4 < k <= q),
    "document": (Causal() & Document(LENGTHS), lambda b, q, k: k <= q and document(b, q) == document(b, k)),
    "both ways": (Document(LENGTHS), lambda b, q, k: document(b, q) == document(b, k)),
    "padding": (Padding(PADDED), lambda b, q, k: k < PADDED[b]),
    "causal padding": (Causal() & Padding(PADDED), lambda b, q, k: k <= q and k < PADDED[b]),
    "prefix": (Prefix(PREFIX), lambda b, q, k: k <= q or k < PREFIX[b]),
    "branches": (
        Branches(torch.tensor(BRANCHES)),
        lambda b, q, k: k <= q and BRANCHES[b][k] in (0, BRANCHES[b][q]),
    ),
    "block": (Block(5), lambda b, q, k: q // 5 == k // 5),
    "other": (Other(), lambda b, q, k: q != k),
    "causal other": (Causal() & Other(), lambda b, q, k: k < q),
    "given": (Given(TABLE), lambda b, q, k: bool(TABLE[b, q, k])),
    "given for all": (Given(TABLE[0]), lambda b, q, k: bool(TABLE[0, q, k])),
    "given as transformers has it": (Given(TABLE[:, None]), lambda b, q, k: bool(TABLE[b, q, k])),
    "all": (
        Causal() & Window(4) & Document(LENGTHS),
        lambda b, q, k: q - 4 < k <= q and document(b, q) == document(b, k),
    ),
    "either": (Block(3) | (Causal() & Window(2)), lambda b, q, k: q // 3 == k // 3 or q - 2 < k <= q),
    "either and": ((Other() | Block(2)) & Causal(), lambda b, q, k: (q != k or q // 2 == k // 2) and k <= q),
}


def inputs(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(B, heads, T, D, generator=generator, dtype=torch.float64) for heads in (H, G, G)]


def seen(name: str) -> torch.Tensor:
    """[B, T, T] by the rule."""
    rule = EXAMPLES[name][1]
    return torch.tensor([[[rule(b, q, k) for k in range(T)] for q in range(T)] for b in range(B)])


def whole(q, k, v, mask: Mask, how: Weighing = DOT) -> torch.Tensor:
    return dense.attend(q, k, v, mask, torch.arange(T)[None], True, how)


def written(q, k, v, mask: Mask) -> torch.Tensor:
    return whole(q, k, v, mask, DOT._replace(keep={}, name="0"))


def bucketed(q, k, v, mask: Mask) -> torch.Tensor:
    """Documents taken out of their rows: for masks that say the same inside each of them."""
    parts = [part for part in mask.parts if not isinstance(part, Document)]
    inside = parts[0] if parts else Full()
    for part in parts[1:]:
        inside = inside & part
    return packed.attend(q, k, v, inside, LENGTHS, None, DOT)


def cases():
    for name, (mask, _) in EXAMPLES.items():
        yield name, whole
        yield name, written
        if any(isinstance(part, Document) for part in mask.parts):
            yield name, bucketed


CASES = pytest.mark.parametrize(
    ("name", "kernel"), list(cases()), ids=lambda x: x if isinstance(x, str) else x.__name__
)


def reference(q, k, v, allowed):
    """Attention written out, key heads repeated for their groups; a query that sees nothing gets zeros."""
    k, v = (x.repeat_interleave(H // G, dim=1) for x in (k, v))
    mass = (q @ k.mT / D**0.5).exp() * allowed[:, None]
    return mass / mass.sum(-1, keepdim=True).clamp_min(1e-300) @ v


def test_every_mask_is_here():
    used = {type(part).__name__.lower() for mask, _ in EXAMPLES.values() for part in (mask, *mask.parts)}
    assert used - {"both", "either"} == set(names("viva.model.mask"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_mask_allows_what_its_rule_says(name):
    places = torch.arange(T)
    mask = EXAMPLES[name][0]
    assert torch.equal(mask.allows(places[None], places).expand(B, T, T), seen(name))
    assert torch.equal(mask.allows(places[None, 9:11], places).expand(B, 2, T), seen(name)[:, 9:11])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_mask_is_relative_where_a_shift_changes_nothing(name):
    mask, places = EXAMPLES[name][0], torch.arange(T - 3)
    if mask.relative:
        assert torch.equal(mask.allows(places[None], places), mask.allows(places[None] + 3, places + 3))


@CASES
def test_a_kernel_equals_attention_written_out(name, kernel):
    tensors = [x.requires_grad_() for x in inputs()]
    expected = reference(*tensors, seen(name))
    found = kernel(*tensors, EXAMPLES[name][0])
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, dtype=found.dtype, generator=torch.Generator().manual_seed(9))
    for mine, theirs in zip(
        torch.autograd.grad((found * weight).sum(), tensors),
        torch.autograd.grad((expected * weight).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@CASES
def test_what_is_hidden_has_no_influence_and_no_gradient(name, kernel):
    mask, (q, k, v) = EXAMPLES[name][0], inputs()
    k, v = k.requires_grad_(), v.requires_grad_()
    query = 9
    out = kernel(q, k, v, mask)[:, :, query]
    by_k, by_v = torch.autograd.grad(out.square().sum(), (k, v))
    hidden = ~seen(name)[:, query]
    for gradient in (by_k, by_v):
        of_key = gradient.abs().sum((1, 3))
        assert (of_key[hidden] == 0).all() and (of_key[~hidden] > 0).all()
    noise = torch.where(hidden[:, None, :, None], 1e3, 0.0)
    again = kernel(q, k + noise, v + noise, mask)[:, :, query]
    assert torch.equal(again, out)


@pytest.mark.parametrize("name", ["dot", "additive", "bilinear", "cosine", "linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_query_that_sees_nothing_gets_zeros_and_gives_none(name, dtype):
    """Not NaN, forward or backward, whatever the score."""
    torch.manual_seed(0)
    score = variant("viva.model.score", name).Config().build(D, H).to(dtype)
    q, k, v = (torch.randn(B, H, T, D).to(dtype).requires_grad_() for _ in range(3))
    out = whole(q, k, v, Given(TABLE), Weighing(score))
    assert (out[0, :, 3] == 0).all() and out.isfinite().all()
    for gradient in torch.autograd.grad(out.float().square().sum(), (q, k, v)):
        assert gradient.isfinite().all()


def test_every_score_is_tried_with_an_empty_row():
    marks = test_a_query_that_sees_nothing_gets_zeros_and_gives_none.pytestmark
    tried = {name for mark in marks if mark.args[0] == "name" for name in mark.args[1]}
    assert tried == set(names("viva.model.score"))


def test_a_mask_of_another_shape_is_refused():
    q, k, v = inputs()
    with pytest.raises(Refusal, match=r"must cover the slots that attend, but found .* 16 queries and 16 keys"):
        whole(q, k, v, Given(TABLE[:, :8]))
    with pytest.raises(Refusal, match=r"\[B, T, S\] or \[B, 1, T, S\], but found float32 of shape \[16\]"):
        Given(torch.zeros(16))


@pytest.mark.parametrize(
    "mask",
    [
        Document(((2, 2), (4,))),
        Padding((2, 3)),
        Prefix((2, 3)),
        Branches(torch.zeros(2, 4)),
        Given(TABLE[:, None, :4, :4]),
        Causal() & Padding((2, 3)),
    ],
)
def test_a_mask_is_asked_about_its_own_rows_or_all_alike(mask):
    places = torch.arange(4)
    whole = mask.allows(places[None], places)
    assert torch.equal(mask.allows(places.expand(2, 4), places), whole) and len(whole) == 2
    with pytest.raises(Refusal, match="must be for the rows that attend, but found 2 rows beside 3"):
        mask.allows(places.expand(3, 4), places)


@pytest.mark.parametrize("mask", [Prefix((3,)), Branches(torch.tensor([[0, 0, 1, 2]]))])
def test_a_mask_of_one_row_is_that_of_each(mask):
    """Also where the queries of each row stand at slots of their own."""
    keys, places = torch.arange(4), torch.tensor([[2, 3], [0, 3], [1, 2]])
    alone = mask.allows(keys[None], keys)[0]
    assert torch.equal(mask.allows(places, keys), alone[places])


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_query_is_asked_nothing(name):
    places = torch.arange(T)
    assert EXAMPLES[name][0].allows(places[None, :0], places).shape[1:] == (0, T)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: Document(((5, 7), (9,))), "must fill rows of one length, but found 9 and 12"),
        (lambda: Document(()), "must fill rows of one length, but found no row"),
        (lambda: Document(((5, -7), (12,))), "must have at least one token, but found -7"),
        (lambda: Document(((12, 0), (12,))), "must have at least one token, but found 0"),
        (lambda: Document(((5, 7), (12,)), ((3,), (4,))), "must fill rows of one length, but found 3 and 4"),
        (lambda: Document(((5, 7), (12,)), ((3, 4),)), "of as many rows as attend to them, but found 1 beside 2"),
        (lambda: Document((1, 2)), r"must be told row by row, in whole numbers, but found \(1, 2\)"),
        (lambda: Document(((1, 2),), (3,)), r"must be told row by row, in whole numbers, but found \(3,\)"),
        (lambda: Given([[True]]), r"must be a boolean \[T, S\], .* but found a list"),
        (lambda: Given(TABLE[:, None, None]), r"but found bool of shape \[2, 1, 1, 16, 16\]"),
        (lambda: Given(TABLE[:, None].expand(2, 3, -1, -1)), r"found bool of shape .* the same for all heads"),
        (lambda: Branches([[0, 1]]), r"must be numbers \[B, T\], but found a list"),
        (lambda: Branches(torch.zeros(4)), r"must be numbers \[B, T\], but found float32 of shape \[4\]"),
        (lambda: Padding(torch.tensor([4, 2])), r"must be a whole number for each, but found tensor\(\[4, 2\]\)"),
        (lambda: Padding((3.5, 2)), r"must be a whole number for each, but found \(3\.5, 2\)"),
        (lambda: Document(((2.5, 2.5),)), r"in whole numbers, but found \(\(2\.5, 2\.5\),\)"),
        (lambda: Padding(4), "the lengths of rows must be a whole number for each, but found 4"),
        (
            lambda: Prefix(((4, 2),)),
            r"the lengths of prefixes must be a whole number for each, but found \(\(4, 2\),\)",
        ),
        (lambda: Padding((4, -1)), "the lengths of rows must be 0 or more, but found -1"),
        (lambda: Prefix((-2, 4)), "the lengths of prefixes must be 0 or more, but found -2"),
    ],
)
def test_lengths_that_cannot_be_are_refused(make, found):
    with pytest.raises(Refusal, match=found):
        make()


@pytest.mark.parametrize(("lengths", "n"), [(((5, 4), (9,)), 9), (((5, 17), (22,)), 22), (((5, 8),), 13)])
@pytest.mark.parametrize("kernel", [whole, written])
def test_documents_that_do_not_fill_the_rows_are_refused(lengths, n, kernel):
    q, k, v = (x[:, :, :12] for x in inputs())
    for mask in (Document(lengths), Causal() & Document(lengths), Other() | Document(lengths)):
        with pytest.raises(Refusal, match=f"must fill its rows, but found {n} tokens in rows of 12"):
            dense.attend(q, k, v, mask, torch.arange(12)[None], True, DOT if kernel is whole else DOT._replace(keep={}))


def test_a_token_behind_the_documents_of_a_mask_is_refused():
    q, k, v = (x[:, :, :6] for x in inputs())
    with pytest.raises(Refusal, match="must hold the tokens that attend, but found 4 tokens, and one at place 5"):
        dense.attend(q, k, v, Document(((2, 2),), ((3, 3),)), torch.arange(6)[None], False, DOT)


def test_documents_of_one_row_are_those_of_each():
    """Also where the queries of each row stand at slots of their own."""
    mask, places, keys = Document(((5, 11),)), torch.tensor([[2, 3], [9, 4]]), torch.arange(T)
    rule = lambda q, k: (q < 5) == (k < 5)  # noqa: E731
    assert torch.equal(mask.allows(places, keys), rule(places[..., None], keys))
    assert torch.equal(mask.allows(keys[None], keys)[0], rule(keys[:, None], keys))


@pytest.mark.parametrize("sight", ["causal", "both ways", "padding", "another sequence"])
@pytest.mark.parametrize("T", [1, 40, 128, 200])
def test_half_precision_training_is_as_exact_as_its_dtype(T, sight):
    """Against fp64, the gradients are off by at most 1 % of their norm (a rounding step of bf16 is 0.4 %)."""
    generator = torch.Generator().manual_seed(1)
    lengths = (T, 150, 150) if sight == "another sequence" else (T, T, T)
    exact = [torch.randn(3, H, n, 16, dtype=torch.float64, generator=generator) for n in lengths]
    weight = torch.randn(3, H, T, 16, dtype=torch.float64, generator=generator)
    ends = torch.tensor([lengths[1], lengths[1] // 2 + 1, 1])
    allowed = (torch.arange(lengths[1]) < ends[:, None])[:, None, None]
    allowed = None if sight in ("causal", "both ways") else allowed
    mask = Causal() if sight == "causal" else Full() if allowed is None else Padding(tuple(ends.tolist()))

    def gradients(function, dtype):
        tensors = [x.to(dtype).requires_grad_() for x in exact]
        found = torch.autograd.grad(function(*tensors), tensors, weight.to(dtype))
        return torch.cat([g.double().flatten() for g in found])

    def fused(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, allowed, is_causal=sight == "causal")

    def ours(q, k, v):
        how = Weighing(dot.Config().build(16, H))
        return dense.attend(q, k, v, mask, torch.arange(T)[None], sight != "another sequence", how)

    assert halves.suits(exact[0].bfloat16(), 0.0, 0.25) and not halves.suits(exact[0].float(), 0.0, 0.25)
    assert not halves.suits(exact[0].bfloat16(), 0.0, 1.0)
    truth = gradients(fused, torch.float64)
    assert (gradients(ours, torch.bfloat16) - truth).norm() <= 0.01 * truth.norm()


def test_one_row_of_padding_is_that_of_each_in_half_precision():
    """Bit by bit, gradients too."""
    found = []
    for mask in (Padding((5,)), Padding((5, 5, 5))):
        given = [x.bfloat16().requires_grad_() for x in torch.randn(3, 3, H, 8, 16, generator=torch.manual_seed(1))]
        how = Weighing(dot.Config().build(16, H))
        out = dense.attend(*given, mask, torch.arange(8)[None], True, how)
        found.append([out, *torch.autograd.grad(out.square().sum(), given)])
    assert all(torch.equal(one, each) for one, each in zip(*found, strict=True))


@pytest.mark.parametrize("mask", [Causal(), Full(), Padding((8, 3)), Causal() & Window(4)])
def test_half_precision_takes_the_kernel_where_it_can(mask, monkeypatch):
    taken = []
    monkeypatch.setattr(halves, "attend", lambda q, *rest: taken.append(rest) or q)
    q = torch.zeros(B, H, 8, 16, dtype=torch.bfloat16, requires_grad=True)
    dense.attend(q, q, q, mask, torch.arange(8)[None], True, Weighing(dot.Config().build(16, H)))
    assert len(taken) == (0 if isinstance(mask.parts[-1:] and mask.parts[-1], Window) else 1)


def test_a_window_alone_looks_ahead():
    """However wide it is, it is not the causal mask."""
    q, k, v = inputs()
    torch.testing.assert_close(whole(q, k, v, Window(T)), reference(q, k, v, torch.ones(B, T, T, dtype=torch.bool)))


def test_one_new_token_sees_the_whole_cache():
    q, k, v = inputs()
    allowed = torch.ones(B, 1, T, dtype=torch.bool)
    found = dense.attend(q[:, :, -1:], k, v, Causal(), torch.tensor([[T - 1]]), True, DOT)
    torch.testing.assert_close(found, reference(q[:, :, -1:], k, v, allowed))


@pytest.mark.parametrize(("mask", "queries"), [(Causal(), T), (Causal() & Window(4), T), (Causal(), 1), (Full(), T)])
@pytest.mark.parametrize("keep", [None, {}])
def test_dropout_falls_on_the_weights_in_every_form(mask, queries, keep):
    """With 90 % dropped two passes differ, whatever form the mask is handed over in."""
    q, k, v = inputs()
    places, how = torch.arange(T - queries, T)[None], DOT._replace(dropout=0.9, keep=keep)
    first, second = (dense.attend(q[:, :, -queries:], k, v, mask, places, True, how) for _ in range(2))
    assert not torch.equal(first, second)
