"""Positions inside attention: each scheme is its paper's formula, written out with loops, and says the same of a text
whole, packed among others, read token by token from a cache, and seen both ways.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
from torch import Tensor
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from viva.base.choice import names, variant
from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.attend import Weighing, dense
from viva.model.cache import Contiguous
from viva.model.ffn import mlp
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.full import Full
from viva.model.mask.given import Given
from viva.model.mask.other import Other
from viva.model.mask.prefix import Prefix
from viva.model.norm import rmsnorm
from viva.model.position import Placed, Scheme, alibi, log_n, rope, shaw, t5, xl
from viva.model.recall import Recall
from viva.model.score import bilinear, cosine, dot
from viva.model.spec import Attention, Block, Spec, Stack
from viva.model.transformer import Transformer

POSITIONS = "viva.model.position"
B, T, H, G, D = 2, 9, 4, 2, 8

# each scheme, reaching less far than the texts here are long
SCHEMES: dict[str, Config] = {
    "alibi": alibi.Config(),
    "log_n": log_n.Config(trained=4, rope=rope.Config(theta=50.0)),
    "rope": rope.Config(theta=50.0),
    "shaw": shaw.Config(farthest=3),
    "shaw-keys": shaw.Config(farthest=3, values=False),
    "t5": t5.Config(buckets=8, farthest=6),
    "xl": xl.Config(),
    "xl-farthest": xl.Config(farthest=4),
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def attention(position: Config, causal: bool, kv_heads: int = H, **more) -> Attention:
    return Attention(heads=H, kv_heads=kv_heads, head_dim=D, causal=causal, position=position, **more)


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """In fp64, every parameter moved by a normal number."""
    generator = torch.Generator().manual_seed(2)
    for parameter in module.double().parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return module


# -- the papers' formulas, for one query i, one key j and one head h; q and k are vectors [D] -------------------------


def by_rope(scheme: Scheme, q: Tensor, k: Tensor, i: int, j: int, h: int, causal: bool) -> Tensor:
    """Su et al. 2021, eq. 12: dimensions d and d + D/2 are a complex number, turned by place theta^(-2 d / D)."""
    turned = []
    for x, place in ((q, i), (k, j)):
        angles = torch.tensor([place * 50.0 ** (-2 * d / D) for d in range(D // 2)], dtype=torch.float64)
        turned.append(torch.complex(x[: D // 2], x[D // 2 :]) * torch.polar(torch.ones_like(angles), angles))
    return (turned[0] * turned[1].conj()).real.sum() / math.sqrt(D)


def by_log_n(scheme: Scheme, q: Tensor, k: Tensor, i: int, j: int, h: int, causal: bool) -> Tensor:
    """Su 2021: the same, times log_trained(n) for a query that sees n keys, more than the trained length."""
    seen = [key for key in range(T) if key <= i or not causal]
    return by_rope(scheme, q, k, i, j, h, causal) * max(1.0, math.log(len(seen), 4))


def by_alibi(scheme: Scheme, q: Tensor, k: Tensor, i: int, j: int, h: int, causal: bool) -> Tensor:
    """Press et al. 2022, section 3: q k - m |i - j|, with m of 4 heads 2^-2, 2^-4, 2^-6, 2^-8."""
    return q @ k / math.sqrt(D) - (2**-2, 2**-4, 2**-6, 2**-8)[h] * abs(i - j)


def by_t5(scheme: Scheme, q: Tensor, k: Tensor, i: int, j: int, h: int, causal: bool) -> Tensor:
    """Raffel et al. 2020, section 2.1: a number for the bucket; which bucket is tested beside transformers' below."""
    bucket = T5Attention._relative_position_bucket(torch.tensor([j - i]), not causal, num_buckets=8, max_distance=6)
    return q @ k / math.sqrt(D) + scheme.bucket.weight[int(bucket), h]


def by_shaw(scheme: Scheme, q: Tensor, k: Tensor, i: int, j: int, h: int, causal: bool) -> Tensor:
    """Shaw et al. 2018, eq. 4: x_i W_Q (x_j W_K + a^K_ij) / sqrt(D), with a_ij = w_clip(j - i)."""
    return q @ (k + scheme.keys.weight[max(-3, min(3, j - i)) + 3]) / math.sqrt(D)


def by_xl(scheme: Scheme, q: Tensor, k: Tensor, i: int, j: int, h: int, causal: bool) -> Tensor:
    """Dai et al. 2019, section 3.3: the four terms (a) to (d); distances seen both ways may be below zero."""
    back, E = min(i - j, scheme.config.farthest or T), H * D
    angles = [back / 10_000 ** (2 * d / E) for d in range(E // 2)]
    R = torch.tensor([*map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)
    R = scheme.project.weight[h * D : (h + 1) * D] @ R
    return (q @ k + q @ R + scheme.u[h] @ k + scheme.v[h] @ R) / math.sqrt(D)


SCORES: dict[str, Callable] = {
    "alibi": by_alibi,
    "log_n": by_log_n,
    "rope": by_rope,
    "shaw": by_shaw,
    "t5": by_t5,
    "xl": by_xl,
}


def by_loops(
    name: str, scheme: Scheme, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float = 1 / math.sqrt(D)
) -> Tensor:
    """q, k and v [B, T, H, D] -> [B, T, H, D]; of shaw the values gain a^V_ij (eq. 3). Scores have `scale`."""
    out = torch.zeros_like(q)
    for b in range(B):
        for h in range(H):
            for i in range(T):
                keys = range(i + 1 if causal else T)
                score = SCORES[name.split("-")[0]]
                scores = [score(scheme, q[b, i, h], k[b, j, h], i, j, h, causal) for j in keys]
                weights = (torch.stack(scores) * scale * math.sqrt(D)).softmax(0)
                read = lambda j: v[b, j, h]  # noqa: B023, E731 - used at once
                if name == "shaw":
                    read = lambda j: v[b, j, h] + scheme.values.weight[max(-3, min(3, j - i)) + 3]  # noqa: B023, E731
                out[b, i, h] = sum(weight * read(j) for weight, j in zip(weights, keys, strict=True))
    return out


def test_every_scheme_is_tried():
    act = {name for name in names(POSITIONS) if "attention" in variant(POSITIONS, name).Config.acts_on}
    assert {name.split("-")[0] for name in SCHEMES} == set(SCORES) == act - {"none"}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_is_its_papers_formula(name, causal):
    """What attention reads, and the gradients by queries, keys, values and all that the scheme has learned."""
    spec = attention(SCHEMES[name], causal)
    scheme = drawn(spec.position.within(spec, 64))
    q, k, v = (random(B, T, H, D, seed=seed).requires_grad_() for seed in range(3))
    layout = Layout.one_document(T)
    table = scheme.table(layout)
    turned = (*scheme.turn(q, k, table), v)
    how = Weighing(dot.Config().build(D, H), Placed(scheme, table))
    rows = (x.transpose(1, 2) for x in turned)
    mine = dense.attend(*rows, Causal() if causal else Full(), layout.places, True, how).transpose(1, 2)
    theirs = by_loops(name, scheme, q, k, v, causal)
    torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    wanted, weight = (q, k, v, *scheme.parameters()), random(B, T, H, D, seed=9)
    found = [torch.autograd.grad((x * weight).sum(), wanted) for x in (mine, theirs)]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.2])
@pytest.mark.parametrize("name", ["shaw", "shaw-keys", "xl", "xl-farthest"])
def test_a_score_of_another_scale_has_it_on_places_too(name, scale):
    """What stands below sqrt(D) in the papers are all terms, those of content and those of distance."""
    spec = attention(SCHEMES[name], True, score=dot.Config(scale=scale))
    scheme = drawn(spec.position.within(spec, 64))
    q, k, v = (random(B, T, H, D, seed=seed) for seed in range(3))
    layout = Layout.one_document(T)
    how = Weighing(spec.score.build(D, H), Placed(scheme, scheme.table(layout)))
    rows = (x.transpose(1, 2) for x in (q, k, v))
    mine = dense.attend(*rows, Causal(), layout.places, True, how).transpose(1, 2)
    torch.testing.assert_close(mine, by_loops(name, scheme, q, k, v, True, scale), atol=1e-5, rtol=1e-5)


DOCUMENTS = ((7, 1, 12), (4, 16))
GIVEN = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(6)) < 0.5


def document(row: int, place: int) -> int:
    return sum(place >= end for end in accumulate(DOCUMENTS[row]))


def under(mask: Mask) -> Layout:
    return replace(Layout.one_document(20), mask=mask)


# a causal attention or not, its window, a layout, and which keys a query sees
SIGHTS: dict[str, tuple[bool, int | None, Layout, Callable[[int, int, int], bool]]] = {
    "causal": (True, None, Layout.one_document(20), lambda b, q, k: k <= q),
    "window": (True, 6, Layout.one_document(20), lambda b, q, k: q - 6 < k <= q),
    "full": (False, None, Layout.one_document(20), lambda b, q, k: True),
    "packed": (
        True,
        6,
        Layout.packed(DOCUMENTS, 20),
        lambda b, q, k: q - 6 < k <= q and document(b, q) == document(b, k),
    ),
    "packed, full": (False, None, Layout.packed(DOCUMENTS, 20), lambda b, q, k: document(b, q) == document(b, k)),
    "prefix": (True, None, under(Prefix((8, 3))), lambda b, q, k: k <= q or k < (8, 3)[b]),
    "prefix under a window": (True, 6, under(Prefix((8, 3))), lambda b, q, k: q - 6 < k and (k <= q or k < (8, 3)[b])),
    "given": (True, None, under(Given(GIVEN)), lambda b, q, k: bool(GIVEN[b, q, k])),
    "given, packed": (
        False,
        None,
        Layout.packed(DOCUMENTS, 20, mask=Given(GIVEN)),
        lambda b, q, k: bool(GIVEN[b, q, k]) and document(b, q) == document(b, k),
    ),
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_log_n_grows_with_what_a_query_sees(sight):
    causal, window, layout, sees = SIGHTS[sight]
    spec = attention(SCHEMES["log_n"], causal, window=window)
    _, factors = spec.position.within(spec, 64).table(layout)
    for b in range(2):
        for q in range(20):
            seen = sum(sees(b, q, k) for k in range(20))
            expected = max(1.0, math.log(seen, 4)) if seen else 1.0
            assert factors.expand(2, -1, -1, -1)[b, q].item() == pytest.approx(expected), (b, q)


def test_layers_under_other_windows_have_log_n_of_their_own():
    """The first and the last see all, the one between them four."""
    made = model(SCHEMES["log_n"], causal=True)
    seen = [scheme.seen(Layout.one_document(9))[0].tolist() for scheme in made.decoder.schemes]
    assert seen == [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 4, 4, 4, 4, 4, 4], [1, 2, 3, 4, 5, 6, 7, 8, 9]]


# -- known values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 10), (16, 100), (64, 1000)])
def test_t5_buckets_are_the_twins(buckets, farthest, causal):
    spec = attention(t5.Config(buckets=buckets, farthest=farthest), causal)
    distance = torch.arange(-3000, 3001)
    theirs = T5Attention._relative_position_bucket(
        distance, bidirectional=not causal, num_buckets=buckets, max_distance=farthest
    )
    assert torch.equal(spec.position.within(spec, 64).buckets(distance), theirs)


@pytest.mark.parametrize(("causal", "exact"), [(True, 16), (False, 8)])
def test_t5_buckets_must_reach_beyond_the_exact_ones(causal, exact):
    """The first `farthest` that is accepted gives the twin's buckets, each of which is one."""
    for farthest in (2, exact - 1, exact):
        spec = attention(t5.Config(buckets=32, farthest=farthest), causal)
        with pytest.raises(Refusal) as caught:
            spec.position.within(spec, 64)
        assert str(caught.value) == (
            "farthest of t5 positions must be above the distances that have a bucket each, but found "
            f"{farthest} where {exact} of 32 buckets are for one distance each. To fix it, set farthest to {exact + 1} "
            "or more, or choose fewer buckets."
        )
    spec = attention(t5.Config(buckets=32, farthest=exact + 1), causal)
    distance = torch.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket(distance, not causal, num_buckets=32, max_distance=exact + 1)
    mine = spec.position.within(spec, 64).buckets(distance)
    assert torch.equal(mine, theirs) and set(mine.tolist()) <= set(range(32))


def test_alibi_slopes_are_the_papers():
    """Section 3: for 8 heads 1/2^1, 1/2^2, ..., 1/2^8; for 16 each also the geometric mean of two neighbours."""
    assert alibi.slopes(8) == [2.0**-i for i in range(1, 9)]
    assert alibi.slopes(16) == pytest.approx([2 ** (-i / 2) for i in range(1, 17)])


@pytest.mark.parametrize("heads", [1, 8, 12, 16, 20])
def test_alibi_is_blooms_bias(heads):
    """BLOOM adds slope * key, which for a query is alibi's slope (key - query) but for a number, so alike in a softmax;
    the slopes for heads that are no power of two are the authors' own rule."""
    scheme = alibi.Config().within(Attention(heads=heads, kv_heads=heads, head_dim=D), 64)
    mine = scheme.table(Layout.one_document(T))[0]
    theirs = build_alibi_tensor(torch.ones(1, T, dtype=torch.long), heads, torch.float32)
    apart = (mine - theirs).masked_fill(torch.ones(T, T).triu(1).bool(), torch.nan)
    rows = [row[: i + 1] for head in apart for i, row in enumerate(head)]
    assert max((row - row[0]).abs().max().item() for row in rows) < 1e-5


# -- the same text in every form -------------------------------------------------------------------------------------


def model(position: Config, causal: bool, kv_heads: int = G, recall: int = 0, **more) -> Transformer:
    """Three layers, two of one kind and one under a window, with weights far from zero."""
    near = {"window": 4} if causal else {}
    blocks = tuple(
        Block(
            attention=attention(position, causal, kv_heads, **{**more, **window}),
            ffn=mlp.Config(hidden=24),
            norm=rmsnorm.Config(),
        )
        for window in ({}, near, {})
    )
    stack = Stack(layers=3, blocks=blocks, recall=recall)
    side = {"decoder": stack} if causal else {"encoder": stack}
    made = initialise(Transformer(Spec(vocab=40, width=16, context=64, **side)))
    return drawn(made).eval()


def ids(*shape: int) -> Tensor:
    return torch.randint(0, 40, shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_packed_documents_are_each_alone(name, causal):
    """Side by side, and as the rows lie; outcome and gradients."""
    made, x, lengths = model(SCHEMES[name], causal), ids(2, 20), ((7, 1, 12), (4, 11))
    weight = random(2, 20, 40)
    documents = [(row, start, n) for row, ns in enumerate(lengths) for start, n in zip(_starts(ns), ns, strict=True)]
    alone = [made(x[row : row + 1, start : start + n])[0] for row, start, n in documents]
    loss = sum((y * weight[row, start : start + n]).sum() for y, (row, start, n) in zip(alone, documents, strict=True))
    expected = torch.autograd.grad(loss, made.parameters())
    for whole in (False, True):
        layout = Layout.packed(lengths, 20)
        found = made(x, Layout(**{**vars(layout), "whole": whole}))
        for y, (row, start, n) in zip(alone, documents, strict=True):
            torch.testing.assert_close(found[row, start : start + n], y, atol=1e-6, rtol=1e-6)
        real = torch.ones(2, 20)
        real[1, 15:] = 0
        gradients = torch.autograd.grad((found * weight * real[..., None]).sum(), made.parameters())
        for mine, theirs in zip(gradients, expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def _starts(lengths: tuple[int, ...]) -> list[int]:
    return [sum(lengths[:i]) for i in range(len(lengths))]


@pytest.mark.parametrize("name", SCHEMES)
def test_token_by_token_from_a_cache_is_the_full_pass(name):
    """Five tokens at once, two, then one by one; and rows that begin at unequal lengths."""
    made, x = model(SCHEMES[name], causal=True), ids(2, 20)
    with torch.no_grad():
        full, cache = made(x), Contiguous(made.spec, 2, 20, torch.float64)
        found = torch.cat([made(part, cache=cache) for part in x.split((5, 2, *[1] * 13), 1)], 1)
        torch.testing.assert_close(found, full, atol=1e-6, rtol=1e-6)
        cache = Contiguous(made.spec, 2, 20, torch.float64)
        made(x[:, :9], cache=cache)
        cache.keep(torch.tensor([4, 9]))
        found = [made(torch.stack((x[:1, 4 + i], x[1:, 9 + i])), cache=cache)[:, 0] for i in range(5)]
        for row, start in enumerate((4, 9)):
            mine = torch.stack([step[row] for step in found])
            torch.testing.assert_close(mine, full[row, start : start + 5], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_no_token_has_no_state(name, causal):
    assert model(SCHEMES[name], causal).hidden(ids(2, 0)).shape == (2, 0, 16)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_scheme_tells_by_place_or_by_distance_as_it_says(name):
    """Where tokens are said to have other places in the same slots."""
    made, x, layout = model(SCHEMES[name], causal=True), ids(2, 12), Layout.one_document(12)
    apart = replace(layout, positions=layout.positions * 2, end=23)
    assert torch.allclose(made(x, layout), made(x, apart)) != SCHEMES[name].by_place


@pytest.mark.parametrize("name", [name for name, position in SCHEMES.items() if not position.by_place])
def test_a_recalled_segment_is_a_window(name):
    """Read token by token with 3 states recalled, a token sees 4, as in one pass under such a window."""
    made, x, recall = model(SCHEMES[name], True, recall=3, window=4), ids(2, 12), Recall(3)
    found = torch.cat([made.hidden(token, recall=recall) for token in x.split(1, 1)], 1)
    torch.testing.assert_close(found, made.hidden(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("score", [dot.Config(), dot.Config(scale=1.0), bilinear.Config(), cosine.Config()])
@pytest.mark.parametrize("name", SCHEMES)
def test_weights_that_are_read_are_those_of_the_fused_path(name, score, causal):
    """Attention written out gives the same states, whatever the score."""
    made, x = model(SCHEMES[name], causal, H, score=score), ids(2, 12)
    kept: dict[str, Tensor] = dict.fromkeys("012")
    torch.testing.assert_close(made.hidden(x, weights=kept), made.hidden(x), atol=1e-6, rtol=1e-6)
    for weights in kept.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, H, 12, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SCHEMES)
def test_a_query_that_sees_nothing_gets_zeros_and_gives_none(name, dtype):
    """The first token, where none sees itself: not NaN, forward or backward."""
    spec = attention(SCHEMES[name], causal=True)
    scheme, layout = drawn(spec.position.within(spec, 64)).to(dtype), Layout.one_document(T)
    q, k, v = (random(B, T, H, D, seed=seed).to(dtype).requires_grad_() for seed in range(3))
    table = scheme.table(layout)
    rows = (x.transpose(1, 2) for x in (*scheme.turn(q, k, table), v))
    how = Weighing(dot.Config().build(D, H), Placed(scheme, table))
    out = dense.attend(*rows, Causal() & Other(), layout.places, True, how)
    assert (out[:, :, 0] == 0).all() and out.isfinite().all()
    gradients = torch.autograd.grad(out.float().square().sum(), (q, k, v, *scheme.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][:, 0] == 0).all()


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_half_precision_is_the_same_up_to_rounding(name, causal):
    """As weights in bf16 and under autocast, both forms of attention, forward and backward."""
    made, x = model(SCHEMES[name], causal), ids(2, 12)
    exact = made.hidden(x)
    for dtype in (torch.float32, torch.bfloat16):
        half = made.to(dtype)
        for kept in (None, dict.fromkeys("012")):
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                found = half.hidden(x, weights=kept)
            assert (found.double() - exact).norm() < 0.1 * exact.norm()
            gradients = torch.autograd.grad(found.float().sum(), half.stacks[0].parameters())
            assert all(gradient.isfinite().all() for gradient in gradients)
