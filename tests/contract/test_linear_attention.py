"""Linear attention: sums in place of keys give what the square gives, in training, in packed rows, and in decoding."""

from dataclasses import replace

import pytest
import torch

from viva.base.errors import Refusal
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model.attend import linear
from viva.model.attention import Attention as AttentionLayer
from viva.model.cache import Contiguous
from viva.model.ffn import mlp
from viva.model.flow import Flow
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.mask.causal import Causal
from viva.model.mask.full import Full
from viva.model.mask.padding import Padding
from viva.model.mask.prefix import Prefix
from viva.model.norm import layernorm
from viva.model.position import Placed, rope
from viva.model.score import dot
from viva.model.score import linear as score
from viva.model.spec import Attention, Block, Spec, Stack
from viva.model.transformer import Transformer

B, H, D, V = 2, 3, 4, 32


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def square(q, k, v, allowed) -> torch.Tensor:
    """sum_j phi(q_i) phi(k_j) v_j / sum_j phi(q_i) phi(k_j) over the allowed j (eq. 4 and 7), every product formed."""
    q, k = (torch.where(x > 0, x + 1, x.exp()) for x in (q, k))
    mass = torch.einsum("bhtd,bhsd->bhts", q, k) * allowed
    return torch.einsum("bhts,bhsd->bhtd", mass, v) / mass.sum(-1, keepdim=True)


@pytest.mark.parametrize("T", [1, 127, 128, 129, 300])
@pytest.mark.parametrize("mask", [Causal(), Full(), Padding((60, 1)), Causal() & Padding((200, 90))])
def test_sums_give_what_the_square_gives(T, mask):
    """To rounding in fp64, forward and backward, at every length around that of a block."""
    tensors = [random(B, H, T, D, seed=i).requires_grad_() for i in range(3)]
    places = torch.arange(T)
    found = linear.attend(*tensors, mask.parts, score.Config().build(D, H))
    expected = square(*tensors, mask.allows(places[None], places)[:, None])
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    weight = random(B, H, T, D, seed=9)
    mine, theirs = (torch.autograd.grad((y * weight).sum(), tensors) for y in (found, expected))
    for by_sums, by_square in zip(mine, theirs, strict=True):
        torch.testing.assert_close(by_sums, by_square, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("mask", [Padding((0, 5)), Causal() & Padding((0, 5))])
def test_a_row_of_padding_alone_gives_zeros_and_no_slope(mask):
    """Above the others, whose slopes are those that they have without it."""
    tensors = [random(B, H, 8, D, seed=i).float().requires_grad_() for i in range(3)]
    found = linear.attend(*tensors, mask.parts, score.Config().build(D, H))
    assert (found[0] == 0).all()
    weight = 1e3 * random(B, H, 8, D, seed=9).float()
    by_both = torch.autograd.grad((found * weight).sum(), tensors)
    alone = linear.attend(*(x[1:] for x in tensors), Padding((5,)).parts + mask.parts[:-1], score.Config().build(D, H))
    for by_row, expected in zip(by_both, torch.autograd.grad((alone * weight[1:]).sum(), tensors), strict=True):
        assert (by_row[0] == 0).all()
        torch.testing.assert_close(by_row[1], expected[1])


def model_of(*scores) -> Transformer:
    """A decoder whose layers compare by these scores in turn, in fp64, its weights large enough to matter."""
    blocks = tuple(
        Block(
            attention=Attention(heads=H, kv_heads=H, head_dim=D, score=one, position=rope.Config()),
            ffn=mlp.Config(hidden=16),
            norm=layernorm.Config(),
        )
        for one in scores
    )
    spec = Spec(vocab=V, width=H * D, context=512, decoder=Stack(layers=2, blocks=blocks))
    model, generator = Transformer(spec).double().eval(), torch.Generator().manual_seed(4)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5
    return model


def turned(x: torch.Tensor, place: int) -> torch.Tensor:
    """A vector [D] as D/2 complex numbers, of dimensions d and d + D/2, turned by place theta^(-2 d / D)."""
    angles = torch.tensor([place * 10_000 ** (-2 * d / D) for d in range(D // 2)], dtype=torch.float64)
    return torch.complex(x[: D // 2], x[D // 2 :]) * torch.polar(torch.ones_like(angles), angles)


def by_eq_19(layer: AttentionLayer, x: torch.Tensor, causal: bool) -> torch.Tensor:
    """Su et al. 2021: sum_n (R_m phi(q_m)) (R_n phi(k_n)) v_n / sum_n phi(q_m) phi(k_n), pair by pair; x [B, T, E]."""
    weights = pieces(layer)
    q, k, v = ((x @ weights[f"{part}.weight"].T).unflatten(-1, (H, D)) for part in "qkv")
    q, k = (torch.where(y > 0, y + 1, y.exp()) for y in (q, k))
    rows = []
    for b in range(x.shape[0]):
        for m in range(x.shape[1]):
            seen = range(m + 1 if causal else x.shape[1])
            for h in range(H):
                above = sum(
                    (turned(q[b, m, h], m) * turned(k[b, n, h], n).conj()).real.sum() * v[b, n, h] for n in seen
                )
                rows.append(above / sum(q[b, m, h] @ k[b, n, h] for n in seen))
    return torch.stack(rows).view(*x.shape[:2], H * D) @ weights["out.weight"].T


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("causal", [True, False])
def test_rotary_positions_turn_what_is_summed_and_not_what_it_is_divided_by(causal, keep):
    """Forward and backward, by sums and with the weights written out."""
    spec = Attention(heads=H, kv_heads=H, head_dim=D, causal=causal, score=score.Config(), position=rope.Config())
    layer, layout = AttentionLayer(spec, 12, 64).double(), Layout.one_document(9)
    scheme = spec.position.within(spec, 64)
    for number, parameter in enumerate(layer.parameters()):
        parameter.data = random(*parameter.shape, seed=number)
    x = random(B, 9, 12).requires_grad_()
    flow = Flow(layout, (Placed(scheme, scheme.table(layout)),), weights={"0": None} if keep else None)
    found, expected = layer(x, flow, 0), by_eq_19(layer, x, causal)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # angles are in fp32
    weight, of = random(B, 9, 12, seed=9), [x, *layer.parameters()]
    mine, theirs = (torch.autograd.grad((y * weight).sum(), of) for y in (found, expected))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("keep", [False, True])
def test_only_distances_count(keep):
    """A text whose tokens all stand 7 places further on is the same text."""
    model, ids = model_of(*LINEAR), torch.randint(V, (B, 20), generator=torch.Generator().manual_seed(5))
    layout = Layout.one_document(20)
    here, there, apart = (
        model.hidden(ids, replace(layout, positions=positions, end=64), weights=dict.fromkeys("01") if keep else None)
        for positions in (layout.positions, layout.positions + 7, layout.positions * 2)
    )
    torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)
    assert (here - apart).abs().max() > 0.1


LINEAR, MIXED = (score.Config(),), (score.Config(), dot.Config())


@pytest.mark.parametrize("scores", [LINEAR, MIXED])
def test_decoding_equals_the_whole_pass(scores):
    """One by one, and more than a block at a time."""
    model, ids = model_of(*scores), torch.randint(V, (B, 160), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        whole = model(ids)
        for sizes in ([1] * 160, [3, 150, 1, 1, 5]):
            cache = Contiguous(model.spec, B, 160, torch.float64)
            found = torch.cat([model(part, cache=cache) for part in ids.split(sizes, 1)], 1)
            torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-10)
    assert not torch.allclose(model(ids.flip(1))[:, -1], whole[:, -1])


def test_what_is_kept_has_one_size():
    """For each layer and row H matrices D x D and H vectors D, whatever is read."""
    model = model_of(*LINEAR)
    sizes = set()
    for capacity in (4, 4096):
        cache = Contiguous(model.spec, B, capacity, torch.float64)
        for _ in range(2):
            model(torch.zeros(B, 100, dtype=torch.long), cache=cache)
        sizes.add(sum(x.untyped_storage().nbytes() for x in (*cache.keys, *cache.values)))
    assert sizes == {8 * 2 * B * H * (D * D + D)}


def test_packed_documents_are_those_documents_alone():
    model, ids = model_of(*LINEAR), torch.randint(V, (2, 24), generator=torch.Generator().manual_seed(6))
    documents = ((5, 7, 12), (20, 1, 3))
    packed, weight = model(ids, Layout.packed(documents, 24)), random(24, V)
    total, separate = (packed * weight).sum(), 0.0
    for row, lengths in enumerate(documents):
        ends = torch.tensor(lengths).cumsum(0).tolist()
        for start, end in zip((0, *ends), ends, strict=False):
            alone = model(ids[row : row + 1, start:end])[0]
            torch.testing.assert_close(packed[row, start:end], alone, rtol=1e-9, atol=1e-10)
            separate = separate + (alone * weight[start:end]).sum()
    parameters = list(model.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(total, parameters), torch.autograd.grad(separate, parameters), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("scores", [LINEAR, MIXED])
def test_prompts_of_unequal_length_generate_what_each_would_alone(scores):
    """Against the most likely token of a whole pass for every step; rows end at different times."""
    model, stops = model_of(*scores), frozenset((4, 21))
    prompts = [[5, 9, 2], [7], [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], [1, 30, 3], [2, 2], [8, 25]]
    replies = generate_batch(model, prompts, Sampling(temperature=0, max_new_tokens=16), stops)
    for prompt, reply in zip(prompts, replies, strict=True):
        text = list(prompt)
        while len(text) - len(prompt) < 16 and (text == prompt or text[-1] not in stops):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
        assert reply == text[len(prompt) :]
    assert len({tuple(reply) for reply in replies}) > 3 and len({len(reply) for reply in replies}) > 2


def test_what_sums_cannot_do_is_refused():
    model, ids = model_of(*LINEAR), torch.ones(B, 6, dtype=torch.long)
    cache = Contiguous(model.spec, B, 16, torch.float64)
    model(ids, cache=cache)
    padded = Layout.packed(((6,), (4,)), 6)
    behind = padded.places + 6
    for given, expected in (
        (
            {"layout": padded},
            r"cached or recalled, but found a layout that begins at \[0\] and 6 tokens before it",
        ),
        ({"layout": Layout(behind, behind, 12, mask=Prefix((2, 3)))}, "on a cache must see all that came"),
    ):
        with pytest.raises(Refusal, match=expected):
            model(ids, cache=cache, **given)
    with pytest.raises(Refusal, match="linear attention must keep what it has read, but found tokens to be forgotten"):
        cache.keep(torch.tensor([3, 2]))
    with pytest.raises(Refusal, match="on a cache must see all that came before, as a sum, but found attention"):
        model.weights(ids, cache=cache)
    with pytest.raises(Refusal, match="a row that is cached must be one document, but found several"):
        model(ids, Layout.packed(((6,), (4, 2)), 6), cache=Contiguous(model.spec, B, 16, torch.float64))
    fields = {"heads": 4, "kv_heads": 4, "head_dim": 4, "score": score.Config()}
    with pytest.raises(Refusal, match="has sums and no weights to drop, but found dropout"):
        Attention(**fields, dropout=0.1)
    with pytest.raises(Refusal, match=r"linear attention must see all keys by .*, but found window 8, position none"):
        Attention(**fields, window=8)
    with pytest.raises(
        Refusal, match="attention with linear scores must have kv_heads equal to heads, but found 2 for 4"
    ):
        Attention(**fields | {"kv_heads": 2})
