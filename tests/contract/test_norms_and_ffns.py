"""Every norm and every feed-forward network, by what their folders promise and by numerical gradients; where norms
stand, and what BatchNorm takes for a batch.
"""

import math

import pytest
import torch
from torch import nn

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.model import block as block_module
from viva.model import folder as checkpoint
from viva.model.activation import ACTIVATIONS
from viva.model.arch import custom
from viva.model.ffn import glu, mlp
from viva.model.flow import Flow
from viva.model.head import masked
from viva.model.layout import Layout
from viva.model.norm import batchnorm, rmsnorm
from viva.model.spec import Attention, Block, Entry, Stack
from viva.model.transformer import Transformer

NORMS, FFNS = "viva.model.norm", "viva.model.ffn"
E, F = 8, 12


def random(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.mark.parametrize("name", names(NORMS))
def test_a_norm_removes_the_scale(name):
    norm = variant(NORMS, name).Config(eps=1e-12).build(E).double()
    x = random(3, 5, E)
    torch.testing.assert_close(norm(7 * x), norm(x), rtol=1e-6, atol=1e-8)
    assert not torch.allclose(norm(x + 1), x + 1) and norm.weight.shape == (E,)


@pytest.mark.parametrize("name", names(FFNS))
def test_a_network_computes_each_token_by_itself(name):
    ffn = variant(FFNS, name).Config(hidden=F).build(E).double()
    x = random(2, 5, E)
    torch.testing.assert_close(ffn(x)[:, 3], ffn(x[:, 3]))
    downs = [module for place, module in ffn.named_modules() if place.split(".")[-1] == "down"]
    assert downs and all(down.weight.shape == (E, F) for down in downs)


@pytest.mark.parametrize("name", ["mlp", "glu"])
def test_dropout_falls_inside_a_network(name):
    """On the F hidden numbers: with one of them alone, each token loses all of it or has it doubled (p = 1/2)."""
    ffn = variant(FFNS, name).Config(hidden=1, bias=False, dropout=0.5).build(E).double()
    x = random(200, E)
    torch.manual_seed(0)
    whole, kept = ffn.eval()(x), ffn.train()(x)
    lost = (kept == 0).all(-1)
    assert 60 < lost.sum() < 140
    torch.testing.assert_close(kept[~lost], 2 * whole[~lost])


@pytest.mark.parametrize(("package", "name"), [(p, name) for p in (NORMS, FFNS) for name in names(p)])
def test_gradients_are_those_of_finite_differences(package, name):
    fields = {"hidden": F} if package == FFNS else {}
    module = variant(package, name).Config(**fields).build(E).double()
    assert torch.autograd.gradcheck(module, (random(2, 3, E).requires_grad_(),))


@pytest.mark.parametrize(("package", "name"), [(p, name) for p in (NORMS, FFNS) for name in names(p)])
def test_single_precision_trains_as_double_does(package, name):
    """The passes written by hand are those of fp32: their gradients, beside those of the same module in fp64."""
    fields = {"hidden": F} if package == FFNS else {}
    wide = variant(package, name).Config(**fields).build(E).double()
    narrow = variant(package, name).Config(**fields).build(E)
    narrow.load_state_dict(wide.state_dict())
    found = []
    for module, dtype in ((wide, torch.float64), (narrow, torch.float32)):
        x = random(6, 8, E, dtype=torch.float64).to(dtype).requires_grad_()
        loss = (module(x) * random(6, 8, E).to(dtype)).sum()
        found.append([g.double() for g in torch.autograd.grad(loss, (x, *module.parameters()))])
    for mine, exact in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-5)


PADDED = Layout.packed(((5,), (2,), (4,)), 5)


def gathered(x: torch.Tensor) -> torch.Tensor:
    return torch.cat((x[0], x[1, :2], x[2, :4]))


def test_batchnorm_is_that_of_torch_on_the_real_tokens():
    """Values, gradients, the running mean and variance after two passes, and what evaluation makes of them."""
    ours, theirs = batchnorm.Config(momentum=0.3).build(E).double(), nn.BatchNorm1d(E, momentum=0.3).double()
    for module in (ours, theirs):
        module.load_state_dict({"weight": random(E), "bias": random(E, 1)[:, 0]}, strict=False)
    for shift in (0, 2):
        x = (random(3, 5, E) * 3 + shift).requires_grad_()
        found, expected = gathered(ours(x, PADDED.real)), theirs(gathered(x))
        torch.testing.assert_close(found, expected)
        mine = torch.autograd.grad((found * random(11, E)).sum(), (x, ours.weight, ours.bias))
        other = torch.autograd.grad((expected * random(11, E)).sum(), (x, theirs.weight, theirs.bias))
        for by_ours, by_theirs in zip(mine, other, strict=True):
            torch.testing.assert_close(by_ours, by_theirs)
        torch.testing.assert_close((ours.mean, ours.var), (theirs.running_mean, theirs.running_var))
    torch.testing.assert_close(gathered(ours.eval()(x, PADDED.real)), theirs.eval()(gathered(x)))


def test_padding_has_no_influence_on_batchnorm():
    norm, x = batchnorm.Config().build(E).double(), random(3, 5, E)
    noise = torch.where(PADDED.real[..., None], 0.0, 1e3)
    assert torch.equal(gathered(norm(x, PADDED.real)), gathered(norm(x + noise, PADDED.real)))
    assert not torch.allclose(gathered(norm(x + noise)), gathered(norm(x, PADDED.real)))


def test_a_frozen_batchnorm_is_the_one_of_evaluation():
    norm, x = batchnorm.Config().build(E).double(), random(3, 5, E) * 3 + 2
    norm(x)
    seen, expected = (norm.mean.clone(), norm.var.clone()), norm.eval()(x)
    frozen = norm.train().requires_grad_(False)
    assert torch.equal(frozen(x), expected) and torch.equal(frozen.mean, seen[0]) and torch.equal(frozen.var, seen[1])
    assert not torch.allclose(norm.requires_grad_(True)(x), expected)


def test_a_frozen_batchnorm_makes_a_batch_the_sum_of_its_rows():
    """Nothing is to be said of it, then."""
    model = shaken(batchnormed("pre"))
    assert model.of_whole_batch == ["batchnorm"] and model.requires_grad_(False).of_whole_batch == []


def test_one_token_has_no_variance():
    with pytest.raises(Refusal, match="BatchNorm must see two tokens to have a variance, but found 1"):
        batchnorm.Config().build(E)(random(1, 1, E, dtype=torch.float32))


def batchnormed(norm_at: str) -> custom.Config:
    """An encoder and a decoder with BatchNorm wherever a norm of a stack may stand."""
    norm = batchnorm.Config()
    own = {"ffn": mlp.Config(hidden=F), "norm": norm, "norm_at": norm_at}
    both, left = (Attention(heads=2, kv_heads=2, head_dim=4, causal=causal) for causal in (False, True))
    entry = Entry(norm=norm)
    return custom.Config(
        vocab=16,
        width=E,
        context=16,
        encoder=Stack(layers=2, blocks=(Block(attention=both, **own),), entry=entry),
        decoder=Stack(layers=2, blocks=(Block(attention=left, cross=both, **own),), entry=entry),
    )


def shaken(config: custom.Config) -> Transformer:
    model = Transformer(config.spec())
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return model


@pytest.mark.parametrize("norm_at", ["pre", "post", "sandwich"])
def test_every_batchnorm_of_a_model_is_told_what_is_padding(norm_at):
    """Three padded rows, and the same documents in one row without padding: the same tokens, so the same statistics."""
    ids, sources = (torch.randint(16, (3, n), generator=torch.Generator().manual_seed(n)) for n in (5, 6))
    layouts = (
        (PADDED, Layout.packed(((5, 2, 4),), 11)),
        (
            Layout.packed(((3,), (6,), (1,)), 6),
            Layout.packed(((3, 6, 1),), 10),
        ),
    )
    padded, packed = (shaken(batchnormed(norm_at)) for _ in range(2))
    source = torch.cat((sources[0, :3], sources[1], sources[2, :1]))
    found = padded(ids, layouts[0][0], memory=padded.encode(sources, layouts[1][0]))
    one = packed(gathered(ids)[None], layouts[0][1], memory=packed.encode(source[None], layouts[1][1]))
    torch.testing.assert_close(gathered(found), one[0], rtol=1e-4, atol=1e-4)
    told, buffers = dict(padded.named_buffers()), dict(packed.named_buffers())
    sublayers = {"pre": 10, "post": 10, "sandwich": 20}[norm_at]
    assert len(buffers) == 2 * (sublayers + 4)  # and on the embeddings and behind the last block of two stacks
    for name, expected in buffers.items():
        torch.testing.assert_close(told[name], expected, rtol=1e-4, atol=1e-5, msg=name)
        assert not torch.equal(expected, torch.full_like(expected, float(name.endswith("var")))), name


def test_running_statistics_are_saved_and_loaded(tmp_path):
    config = batchnormed("pre")
    model = shaken(config)
    for buffer in model.buffers():
        buffer.copy_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(3)) + 0.5)
    checkpoint.save(tmp_path / "m", config, model)
    loaded = checkpoint.load(tmp_path / "m").model.eval()
    for name, expected in model.named_buffers():
        assert torch.equal(dict(loaded.named_buffers())[name], expected), name
    ids = torch.arange(10).view(2, 5)
    one, other = (m(ids, memory=m.encode(ids)) for m in (model.eval(), loaded))
    assert torch.equal(one, other)


def test_batchnorm_is_refused_where_it_cannot_know_what_is_real():
    with pytest.raises(Refusal, match="qk_norm must norm each vector by itself, but found batchnorm"):
        Attention(heads=2, kv_heads=2, head_dim=4, qk_norm=batchnorm.Config())
    with pytest.raises(Refusal, match="the head for masked words must norm each vector by itself"):
        masked.Config(norm=batchnorm.Config())
    model = shaken(batchnormed("pre"))
    model.encoder.recompute = True
    with pytest.raises(Refusal, match="that are recomputed must leave no trace, but found batchnorm"):
        model.encode(torch.ones(2, 5, dtype=torch.long))


class Swapped(nn.Module):
    """(y0, y1) -> (y1, 0) or (0, y0), in place of a sublayer."""

    def __init__(self, place: int):
        super().__init__()
        self.place = place

    def forward(self, y: torch.Tensor, *_) -> torch.Tensor:
        kept = torch.zeros_like(y)
        kept[..., self.place] = y[..., 1 - self.place]
        return kept


@pytest.mark.parametrize(
    ("norm_at", "expected"),
    [
        ("pre", (3 + 4 / 12.5**0.5, 4 + (3 + 4 / 12.5**0.5) / ((3 + 4 / 12.5**0.5) ** 2 / 2 + 8) ** 0.5)),
        ("post", (7 / 85**0.5, 11 / 85**0.5)),
        ("sandwich", (3 + 2**0.5, 4 + 2**0.5)),
    ],
)
def test_where_a_norm_stands_by_hand(norm_at, expected):
    """x = (3, 4) by RMSNorm, and sublayers that are a swap: attention gives (y1, 0), the feed-forward network (0, y0).

    Sandwich: the norm of what attention adds is (sqrt 2, 0) whatever its size, and that of the other (0, sqrt 2). Post:
    (3, 4) + (4, 0) = (7, 4), then normed, with the 7 added below: (7, 11) normed, sqrt((49 + 121) / 2) = sqrt 85.
    """
    spec = Block(
        attention=Attention(heads=1, kv_heads=1, head_dim=2),
        ffn=mlp.Config(hidden=2),
        norm=rmsnorm.Config(eps=1e-12),
        norm_at=norm_at,
    )
    block = block_module.Block(spec, 2, 8).double()
    block.attention, block.ffn = Swapped(0), Swapped(1)
    found = block(torch.tensor([[[3.0, 4.0]]], dtype=torch.float64), Flow(Layout.one_document(1), (None,)), 0)
    torch.testing.assert_close(found[0, 0], torch.tensor(expected, dtype=torch.float64))


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / 2**0.5)) / 2


FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "gelu_sigmoid": lambda x: x / (1 + math.exp(-1.702 * x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}
POINTS = [-4.0, -1.5, -0.3, 0.0, 0.2, 1.0, 3.5]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(name):
    """In a network whose matrices are the identity, and as a gate: act(x) (2 x)."""
    x = torch.tensor(POINTS, dtype=torch.float64)
    plain = mlp.Config(hidden=7, activation=name, bias=False).build(7).double()
    gate = glu.Config(hidden=7, activation=name).build(7).double()
    with torch.no_grad():
        for weight in (plain.up.weight, plain.down.weight, gate.down.weight):
            weight.copy_(torch.eye(7))
        gate.gate_up.weight.copy_(torch.cat((torch.eye(7), 2 * torch.eye(7))))
    expected = torch.tensor([FORMULAS[name](point) for point in POINTS], dtype=torch.float64)
    torch.testing.assert_close(plain(x), expected)
    torch.testing.assert_close(gate(x), expected * 2 * x)


@pytest.mark.parametrize(("name", "most"), [("gelu_tanh", 5e-4), ("gelu_sigmoid", 0.021)])
def test_approximations_of_gelu_are_as_near_as_is_known(name, most):
    """The largest distances from x Phi(x): 4.7e-4 of the one by tanh and 0.0203 of the one by a sigmoid."""
    points = torch.arange(-6, 6, 1e-3, dtype=torch.float64)
    exact = torch.tensor([gelu(x) for x in points.tolist()], dtype=torch.float64)
    assert 0.9 * most < (ACTIVATIONS[name](points) - exact).abs().max() < most
