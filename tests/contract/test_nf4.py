"""4-bit NormalFloat: the code book, the error of what is stored, the gradient through it, and QLoRA on it."""

import pytest
import torch
from scipy.stats import norm

from viva.model import adapt
from viva.model.adapt import lora
from viva.model.arch import gpt2, llama
from viva.model.init import initialise
from viva.model.linear.dense import Linear
from viva.model.linear.joined import Joined
from viva.model.linear.nf4 import CODE, JoinedNF4, LinearNF4, Packed, quantised


def test_the_code_book_is_made_of_quantiles():
    """Section 3: 8 quantiles of the positive half of N(0, 1), 7 of the negative, and zero, scaled to [-1, 1]. The last
    ones stand at 1 - (1/32 + 1/30) / 2 of the probability.
    """
    end = 1 - (1 / 32 + 1 / 30) / 2
    positive = norm.ppf(torch.linspace(end, 0.5, 9).double()[:-1])
    negative = -norm.ppf(torch.linspace(end, 0.5, 8).double()[:-1])
    values = torch.tensor(sorted([*negative, 0.0, *positive]))
    torch.testing.assert_close(CODE.double(), values / values.abs().max(), atol=2e-6, rtol=0)


def nearest(weight):
    """By the paper's equations with scales in full precision: each weight the nearest of 16 in its block of 64."""
    blocks = weight.flatten().view(-1, 64)
    largest = blocks.abs().amax(1, keepdim=True)
    found = ((blocks / largest)[..., None] - CODE).abs().argmin(-1)
    return (CODE[found] * largest).view(weight.shape)


def test_a_weight_is_the_nearest_of_its_block():
    weight = torch.randn(96, 128, generator=torch.Generator().manual_seed(0))
    expected, found = nearest(weight), Packed(weight)()
    error, rounding = (expected - weight).square().mean().sqrt(), (found - expected).square().mean().sqrt()
    assert 0.06 < error < 0.11  # of N(0, 1) in blocks of 64
    assert rounding < 0.04  # what the scales in 8 bits add
    assert (found - weight).square().mean().sqrt() < 1.1 * error


def test_it_takes_4_127_bits_a_weight():
    packed = Packed(torch.randn(1024, 1024))
    bits = 8 * sum(buffer.nbytes for buffer in packed.buffers()) / 2**20
    assert bits == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-4)


@pytest.mark.parametrize("weight", [torch.zeros(8, 64), torch.full((3, 5), 0.25), torch.randn(7, 9)])
def test_any_shape_and_value_is_finite_and_near(weight):
    found = Packed(weight)()
    assert found.shape == weight.shape
    torch.testing.assert_close(found, weight, atol=0.16 * weight.abs().max().item() + 1e-9, rtol=0.05)


@pytest.mark.parametrize("bias", [True, False])
def test_the_product_and_its_gradient_are_those_of_the_weights_stood_for(bias):
    generator = torch.Generator().manual_seed(0)
    plain, joined = Linear(40, 24, bias=bias), Joined(40, {"q": 8, "k": 16}, bias=bias)
    for module in (plain, joined):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_(generator=generator)
        small = quantised(module)
        assert isinstance(small, JoinedNF4 if module is joined else LinearNF4)
        assert [name for name, _ in small.named_parameters()] == ["bias"] * bias
        x, twin = (torch.randn(5, 40, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
        y = small(x)
        y = torch.cat(y, -1) if module is joined else y
        expected = twin @ small.weight.T + (module.bias if bias else 0)
        torch.testing.assert_close(y, expected)
        y.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(x.grad, twin.grad)


def test_nothing_of_the_weight_is_kept_for_the_backward_pass():
    small, kept = quantised(Linear(64, 64)), []
    x = torch.randn(3, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        small(x).sum()
    assert not kept


@pytest.mark.parametrize("family", [llama, gpt2])
@pytest.mark.parametrize("directed", [False, True])
def test_qlora_learns_on_the_quantised_base(family, directed):
    """As LoRA does on a model whose weights are the ones stood for."""
    targets = ("attention.q", "attention.v", "ffn.down")
    model, plain = (initialise(family.TINY.model_copy(update={"dropout": 0.0}).spec().build()) for _ in range(2))
    adapt.attach(model, lora.Config(targets=targets, directed=directed, quantize="nf4"))
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, LinearNF4 | JoinedNF4):
                plain.get_submodule(name).weight.copy_(module.weight)
    adapt.attach(plain, lora.Config(targets=targets, directed=directed))
    ids = torch.arange(2 * 8).reshape(2, 8)
    for each in (model, plain):
        optimizer = torch.optim.AdamW([p for p in each.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(each(ids).flatten(0, 1), ids.flatten()).backward()
            optimizer.step()
    torch.testing.assert_close(model(ids), plain(ids), atol=2e-5, rtol=1e-4)
    learned = dict(plain.named_parameters())
    own = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert own and all(".adapter." in name for name in own)
    for name, parameter in own.items():
        torch.testing.assert_close(parameter, learned[name], atol=1e-4, rtol=1e-3)
