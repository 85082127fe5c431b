"""Linear maps, alone and joined, against torch.nn.Linear: values, gradients, by each library; what is kept for them."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from viva.base import measure, product
from viva.model.activation import gated
from viva.model.linear.dense import Linear
from viva.model.linear.joined import Joined, assemble, pieces
from viva.model.norm import rmsnorm

PARTS = {"q": 48, "k": 16, "v": 16}


@pytest.fixture(params=product.KERNELS)
def kernel(request, monkeypatch):
    """Every product through this library, however small."""
    monkeypatch.setattr(product, "LARGE", {True: 0, False: 0})
    monkeypatch.setattr(product, "fastest", lambda few: measure.Verdict(request.param, "as the test says"))
    return request.param


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("rows", [1, 40])
def test_a_product_takes_transposed_and_cut_views(kernel, rows):
    wide, weight, bias = random(rows, 96), random(24, 32), random(24)
    for x in (wide[:, :32], random(32, rows).T, random(2, rows, 32)):
        torch.testing.assert_close(product.product(x, weight, bias), functional.linear(x, weight, bias))
        torch.testing.assert_close(product.product(x, random(32, 24).T), functional.linear(x, random(32, 24).T))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inside", "out"), [(32, 48), (48, 32)])
def test_gradients_are_those_of_torch(kernel, inside, out, bias):
    ours, theirs = Linear(inside, out, bias=bias), nn.Linear(inside, out, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    compare(ours, theirs, random(3, 7, inside), lambda y: (y * random(3, 7, out)).sum())


@pytest.mark.parametrize("bias", [True, False])
def test_joined_maps_are_those_maps_side_by_side(kernel, bias):
    ours, theirs = Joined(32, PARTS, bias=bias), nn.Linear(32, 80, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    weight = random(3, 7, 80)

    def loss(y):
        joined = y if isinstance(y, torch.Tensor) else torch.cat(y, -1)
        return (joined * weight).sum()

    compare(ours, theirs, random(3, 7, 32), loss)
    with torch.no_grad():
        for mine, expected in zip(
            ours(weight[..., :32]), theirs(weight[..., :32]).split([48, 16, 16], -1), strict=True
        ):
            torch.testing.assert_close(mine, expected)


def compare(ours: nn.Module, theirs: nn.Module, x: torch.Tensor, loss) -> None:
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    for module, leaf in ((ours, mine), (theirs, other)):
        value = loss(module(leaf))
        value.backward()
    torch.testing.assert_close(loss(ours(mine)), loss(theirs(other)))
    torch.testing.assert_close(mine.grad, other.grad)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, dict(theirs.named_parameters())[name].grad)


def test_what_is_made_again_gives_the_gradients_of_what_was_kept(kernel):
    """norm -> gate and up -> SwiGLU -> down, where neither the normed input nor the gated product is kept."""
    norm = rmsnorm.Config().build(32)
    wide, narrow = Joined(32, {"gate": 48, "up": 48}), Linear(48, 32)
    x = random(5, 32).requires_grad_()
    leaves = [x, norm.weight, wide.weight, narrow.weight]
    ours = torch.autograd.grad(narrow(gated("silu", *wide(norm(x)))).square().sum(), leaves)
    normed = functional.rms_norm(x, (32,), norm.weight, 1e-6)
    gate, up = functional.linear(normed, wide.weight).chunk(2, -1)
    written_out = functional.linear(functional.silu(gate) * up, narrow.weight, narrow.bias)
    for mine, theirs in zip(ours, torch.autograd.grad(written_out.square().sum(), leaves), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_normed_input_is_not_kept():
    """Of the two tensors [5, 32] that a norm and a linear layer meet, the graph holds the input alone."""
    norm, linear = rmsnorm.Config().build(32), Linear(32, 8)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        linear(norm(random(5, 32).requires_grad_()))
    assert {t.data_ptr() for t in kept if t.shape == (5, 32)} == {kept[0].data_ptr()}


def test_what_was_written_into_is_kept_instead():
    """A mark says how a tensor was made; once something else stands in it, making it again would be wrong."""
    linear, gate, up = Linear(32, 8), random(5, 32).requires_grad_(), random(6, 32)[:5].requires_grad_()
    y = gated("silu", gate, up)
    y.mul_(2)
    linear(y).sum().backward()
    torch.testing.assert_close(linear.weight.grad, (2 * functional.silu(gate) * up).sum(0).expand(8, 32).detach())


def test_a_single_vector_has_a_gradient():
    linear, x = Linear(32, 8), random(32)
    linear(x).sum().backward()
    torch.testing.assert_close(linear.weight.grad, x.expand(8, 32))


def test_a_frozen_weight_keeps_no_input_and_gets_no_gradient():
    linear, x = Linear(32, 8).requires_grad_(False), random(5, 32).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = linear(x)
    y.sum().backward()
    assert [tuple(t.shape) for t in kept] == [(8, 32)] and linear.weight.grad is None
    torch.testing.assert_close(x.grad, linear.weight.sum(0).expand(5, 32))


def test_pieces_come_apart_and_together_again():
    model = nn.ModuleDict(
        {"attention": nn.ModuleDict({"qkv": Joined(8, {"q": 4, "k": 2}, bias=True)}), "up": Linear(8, 3)}
    )
    found = pieces(model)
    assert {name: tuple(piece.shape) for name, piece in found.items()} == {
        "attention.q.weight": (4, 8), "attention.k.weight": (2, 8), "attention.q.bias": (4,), "attention.k.bias": (2,),
        "up.weight": (3, 8), "up.bias": (3,),
    }  # fmt: skip
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assemble(model, {name: 2 * piece.detach() for name, piece in found.items()})
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, 2 * before[name])


def test_the_library_follows_the_measurement(monkeypatch):
    """oneDNN five times as fast is taken; 40 % faster is not, since noise might tell otherwise the next time."""
    names = iter(())
    monkeypatch.setattr(measure, "shortest", lambda run, on, budget: next(names))
    for seconds, expected in (((5.0, 1.0), "oneDNN"), ((1.4, 1.0), "BLAS")):
        names = iter(seconds)
        assert product._measured(few=False).name == expected


def test_other_dtypes_are_left_to_torch(kernel):
    x, weight = random(9, 32).bfloat16(), random(24, 32).bfloat16()
    assert torch.equal(product.product(x, weight), functional.linear(x, weight))
