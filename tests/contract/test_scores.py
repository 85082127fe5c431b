"""Every score, and attention as a whole, against formulas written out pair by pair in fp64; the weights that can be
read are those by which the fused kernels read the values.
"""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from viva.base.choice import names
from viva.model.attend import Weighing, dense
from viva.model.attention import Attention
from viva.model.ffn import mlp
from viva.model.flow import Flow, Memory
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.full import Full
from viva.model.mask.window import Window
from viva.model.norm import layernorm, rmsnorm
from viva.model.position import rope, t5
from viva.model.score import Base, Score, additive, bilinear, cosine, dot, linear
from viva.model.spec import Attention as AttentionSpec
from viva.model.spec import Block, Spec, Stack
from viva.model.transformer import Transformer

B, T, S, H, D, E, V = 2, 5, 6, 4, 4, 12, 32

# score(module, its head h, q [D], k [D]) of each, as the docstrings' papers write it
Formula = Callable[[Score, int, torch.Tensor, torch.Tensor], torch.Tensor]
CASES: dict[str, tuple[Base, Formula]] = {
    "sqrt": (dot.Config(), lambda s, h, q, k: (q * k).sum() / 2),  # sqrt(D) = 2
    "none": (dot.Config(scale=1.0), lambda s, h, q, k: (q * k).sum()),
    "fixed": (dot.Config(scale=0.3), lambda s, h, q, k: 0.3 * (q * k).sum()),
    "cap": (dot.Config(cap=0.7), lambda s, h, q, k: 0.7 * torch.tanh((q * k).sum() / 2 / 0.7)),
    "cosine": (
        cosine.Config(scale=3.0),
        lambda s, h, q, k: 3 * (q * k).sum() / (q.square().sum() * k.square().sum()).sqrt(),
    ),
    "bilinear": (
        bilinear.Config(),
        lambda s, h, q, k: sum(q[a] * s.weight[h, a, b] * k[b] for a in range(D) for b in range(D)),
    ),
    "additive": (
        additive.Config(),
        lambda s, h, q, k: sum(s.v[h, a] * torch.tanh(q[a] + k[a]) for a in range(D)),
    ),
    "linear": (linear.Config(), lambda s, h, q, k: (feature(q) * feature(k)).sum()),
}
FUSED = {"sqrt", "none", "fixed", "cosine", "bilinear"}
MASKS = {"full": Full(), "causal": Causal(), "window": Causal() & Window(2)}


def feature(x: torch.Tensor) -> torch.Tensor:
    """elu(x) + 1."""
    return torch.where(x > 0, x + 1, x.exp())


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape) + 100 * seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def shaken(module: nn.Module, scale: float = 1.0) -> nn.Module:
    for number, parameter in enumerate(module.parameters()):
        parameter.data = random(*parameter.shape, seed=number, dtype=parameter.dtype) * scale
    return module


def by_pairs(name: str, score: Score, q, k, v, allowed) -> tuple[torch.Tensor, torch.Tensor]:
    """q [B, H, T, D], k and v [B, G, S, D], allowed [B or 1, T, S] -> what is read, and the weights."""
    formula, groups = CASES[name][1], q.shape[1] // k.shape[1]
    rows = []
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                scores = torch.stack([formula(score, h, q[b, h, i], key) for key in k[b, h // groups]])
                mass = (scores if name == "linear" else scores.exp()) * allowed[b % len(allowed), i]
                rows.append(mass / mass.sum())
    weights = torch.stack(rows).view(*q.shape[:3], -1)
    return torch.einsum("bhts,bhsd->bhtd", weights, v[:, [h // groups for h in range(q.shape[1])]]), weights


def same_gradients(found, expected, of) -> None:
    weight = random(*found.shape, seed=7).to(found.dtype)
    mine, theirs = (torch.autograd.grad((y * weight).sum(), of) for y in (found, expected))
    for by_ours, by_formula in zip(mine, theirs, strict=True):
        torch.testing.assert_close(by_ours, by_formula)


def allowed(mask: Mask, queries: int, keys: int) -> torch.Tensor:
    return mask.allows(torch.arange(queries)[None], torch.arange(keys))


def test_every_score_is_here():
    used = {type(config).__module__.rsplit(".", 1)[-1] for config, _ in CASES.values()}
    assert used == set(names("viva.model.score"))


@pytest.mark.parametrize("sight", MASKS)
@pytest.mark.parametrize("name", CASES)
def test_a_score_is_its_formula(name, sight):
    """Forward and backward, by the fused kernel, by sums, and written out with the weights kept."""
    score = shaken(CASES[name][0].build(D, H).double())
    G = H if name == "linear" else 2
    tensors = [random(B, n, T, D, seed=n).requires_grad_() for n in (H, G, G)]
    learned = [*tensors, *score.parameters()]
    expected, weights = by_pairs(name, score, *tensors, allowed(MASKS[sight], T, T))
    assert (score.fused(*tensors[:2]) is not None) == (name in FUSED)
    for keep in (None, {}):
        found = dense.attend(*tensors, MASKS[sight], torch.arange(T)[None], True, Weighing(score, keep=keep, name="0"))
        torch.testing.assert_close(found, expected)
        same_gradients(found, by_pairs(name, score, *tensors, allowed(MASKS[sight], T, T))[0], learned)
    torch.testing.assert_close(keep["0"], weights)


def by_hand(layer: Attention, name: str, x, seen, sees) -> torch.Tensor:
    """The whole layer: x [B, T, E] attends to seen [B, S, E]."""
    weights, spec = pieces(layer), layer.spec

    def projected(part: str, of: torch.Tensor) -> torch.Tensor:
        y = torch.einsum("bte,fe->btf", of, weights[f"{part}.weight"])
        y = y + weights[f"{part}.bias"] if spec.bias else y
        return y.view(*y.shape[:2], -1, D).transpose(1, 2)

    def normed(part: str, y: torch.Tensor) -> torch.Tensor:
        weight = weights[f"{part}_norm.weight"]
        if isinstance(spec.qk_norm, rmsnorm.Config):
            return y / (y.square().mean(-1, keepdim=True) + spec.qk_norm.eps).sqrt() * weight
        y = y - y.mean(-1, keepdim=True)
        return y / (y.square().mean(-1, keepdim=True) + spec.qk_norm.eps).sqrt() * weight + weights[f"{part}_norm.bias"]

    q, k = projected("q", x), projected("k", seen)
    v = k if spec.shared_kv else projected("v", seen)
    if spec.qk_norm is not None:
        q, k = normed("q", q), normed("k", k)
    read, _ = by_pairs(name, layer.score, q, k, v, sees)
    y = torch.einsum("bhtd,ehd->bte", read, weights["out.weight"].view(-1, spec.heads, D))
    return y + weights["out.bias"] if spec.out_bias else y


VARIANTS = {
    "multi-head": {"kv_heads": H},
    "grouped": {"kv_heads": 2},
    "multi-query": {"kv_heads": 1},
    "biased": {"kv_heads": H, "bias": True, "out_bias": True},
    "shared keys and values": {"kv_heads": 2, "shared_kv": True, "bias": True},
    "layernorm of q and k": {"kv_heads": 2, "qk_norm": layernorm.Config(eps=1e-3)},
    "rmsnorm of q and k": {"kv_heads": 2, "qk_norm": rmsnorm.Config(eps=1e-3), "shared_kv": True},
}
WHOLE = [(name, "multi-head") for name in CASES] + [("sqrt", variant) for variant in VARIANTS]
WHOLE += [("additive", "grouped"), ("bilinear", "multi-query"), ("cosine", "shared keys and values")]


def layer_of(name: str, variant: str, apart: bool = False, **fields) -> Attention:
    spec = AttentionSpec(heads=H, head_dim=D, score=CASES[name][0], **VARIANTS[variant], **fields)
    return shaken(Attention(spec, E, 64, apart).double(), 0.5)


@pytest.mark.parametrize(("name", "variant"), WHOLE)
def test_a_layer_is_its_equations(name, variant):
    """With additive scores these are Bahdanau's: v^T tanh(W x_i + U x_j), W and U the query and key projections."""
    layer, x = layer_of(name, variant), random(B, T, E).requires_grad_()
    flow = Flow(Layout.one_document(T), (None,))
    found, expected = layer(x, flow, 0), by_hand(layer, name, x, x, allowed(Causal(), T, T))
    torch.testing.assert_close(found, expected)
    same_gradients(found, expected, [x, *layer.parameters()])


@pytest.mark.parametrize(("name", "variant"), WHOLE)
def test_a_layer_across_is_its_equations(name, variant):
    layer, x, other = layer_of(name, variant, apart=True, causal=False), random(B, T, E), random(B, S, E, seed=2)
    other.requires_grad_()
    flow = Flow(Layout.one_document(T), (None,), memory=Memory(other, Layout.one_document(S)))
    found, expected = layer.across(x, flow, 0), by_hand(layer, name, x, other, torch.ones(1, T, S))
    torch.testing.assert_close(found, expected)
    same_gradients(found, expected, [other, *layer.parameters()])


@pytest.mark.parametrize("name", CASES)
def test_an_item_attends_to_histories_of_their_own_lengths(name):
    """Target attention (Zhou et al. 2018, https://arxiv.org/abs/1706.06978): one query a row, a candidate, against what
    its user has seen, 6 items of one and 2 of the other.
    """
    layer, item = layer_of(name, "multi-head", apart=True, causal=False), random(B, 1, E).requires_grad_()
    history, lengths = random(B, S, E, seed=3).requires_grad_(), (6, 2)
    memory = Memory(history, Layout.packed(tuple((n,) for n in lengths), S))
    found = layer.across(item, Flow(Layout.one_document(1), (None,), memory=memory), 0)
    sees = torch.stack([torch.arange(S) < n for n in lengths])[:, None]
    expected = by_hand(layer, name, item, history, sees)
    torch.testing.assert_close(found, expected)
    same_gradients(found, expected, [item, history, *layer.parameters()])
    by_history = torch.autograd.grad(layer.across(item, Flow(Layout.one_document(1), (None,), memory=memory), 0).sum(),
                                     history)[0]  # fmt: skip
    assert (by_history[1, 2:] == 0).all() and (by_history[1, :2] != 0).all()


class Read:
    """What each attention of a stack reads, [B, T, H, D] before its output projection, and the values it read from."""

    def __init__(self, model: Transformer):
        self.found: dict[str, torch.Tensor] = {}
        self.values: dict[str, torch.Tensor] = {}
        for i, block in enumerate((model.decoder or model.encoder).layers):
            self._watch(f"{i}", block.attention, block.attention.qkv)
            if block.cross is not None:
                self._watch(f"{i}.cross", block.cross, block.cross.kv)

    def _watch(self, name: str, layer: Attention, projects: nn.Module) -> None:
        groups = layer.spec.heads // layer.spec.kv_heads

        def values(module, given, parts):
            v = parts[-1].unflatten(-1, (-1, layer.spec.head_dim)).transpose(1, 2)
            self.values[name] = v.repeat_interleave(groups, 1)

        def read(module, given):
            self.found[name] = given[0].unflatten(-1, (layer.spec.heads, -1)).transpose(1, 2)

        projects.register_forward_hook(values)
        layer.out.register_forward_pre_hook(read)


def model_of(name: str, kv_heads: int, crossing: bool, **fields) -> Transformer:
    own = {"heads": H, "kv_heads": kv_heads, "head_dim": D, "score": CASES[name][0]}
    block = {"ffn": mlp.Config(hidden=16), "norm": layernorm.Config()}
    stack = {"layers": 3, "final_norm": False}
    cross = AttentionSpec(**own, causal=False)
    both = Stack(blocks=(Block(attention=cross, **block),), **stack)
    if crossing:
        left = Stack(blocks=(Block(attention=AttentionSpec(**own, **fields), cross=cross, **block),), **stack)
        spec = Spec(vocab=V, width=E, context=64, encoder=both, decoder=left)
    else:
        own = Stack(blocks=(Block(attention=AttentionSpec(**own, **fields), **block),), **stack)
        place = "decoder" if fields.get("causal", True) else "encoder"
        spec = Spec(vocab=V, width=E, context=64, **{place: own})
    return shaken(Transformer(spec), 0.4).eval()


SIGHTS = {
    "causal": {},
    "full": {"causal": False},
    "window": {"window": 3},
    "rope": {"position": rope.Config()},
    "t5": {"position": t5.Config()},
}


@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("kv_heads", [H, 2, 1])
@pytest.mark.parametrize("name", CASES)
def test_weights_read_from_any_layer_are_those_of_the_fused_path(name, kv_heads, sight, crossing):
    """Weights times values, beside what the fused kernel reads where no weights are asked for: within 1e-6 in fp32."""
    if (name == "linear" and (kv_heads != H or sight in ("window", "t5"))) or (crossing and sight == "full"):
        return  # refused, or no decoder
    model = model_of(name, kv_heads, crossing, **SIGHTS[sight])
    ids = torch.randint(V, (B, 12), generator=torch.Generator().manual_seed(1))
    memory = model.encode(ids.flip(1)[:, :9]) if crossing else None
    given = {"memory": memory} if crossing else {}
    read = Read(model)
    with torch.no_grad():
        model.hidden(ids, **given)
        found, values = dict(read.found), dict(read.values)
        weights = model.weights(ids, **given)
        last = [key for key in weights if key.startswith("2")]
        alone = model.weights(ids, layers=tuple(last), **given)
        [(called, numbered)] = model.weights(ids, [2], **given).items()
    assert called == "2" and numbered.equal(alone["2"])
    assert set(weights) == set(found) == {f"{i}{of}" for i in range(3) for of in ("", ".cross")[: 1 + crossing]}
    assert set(alone) == set(last)
    for key, weight in weights.items():
        torch.testing.assert_close(weight @ values[key], found[key], rtol=1e-6, atol=1e-6, msg=key)
        if (name, sight) == ("linear", "rope") and "cross" not in key:
            continue  # what is turned stands above the line alone
        torch.testing.assert_close(weight.sum(-1), torch.ones(B, H, 12))
        if "cross" not in key:
            sees = allowed(Full() if sight == "full" else MASKS["causal"], 12, 12)
            sees = sees & allowed(Window(3), 12, 12) if sight == "window" else sees
            assert (weight[:, :, ~sees[0]] == 0).all() and (weight[:, :, sees[0]] > 0).all()
    for key in last:  # the layers before it are then fused
        torch.testing.assert_close(alone[key], weights[key], rtol=1e-5, atol=1e-6)
