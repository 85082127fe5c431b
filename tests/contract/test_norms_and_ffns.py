"""Every norm and every feed-forward network, by what their folders promise and by numerical gradients."""

import pytest
import torch

from viva.base.choice import names, variant

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
    assert ffn.down.weight.shape == (E, F)


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
        x = random(2, 3, E, dtype=torch.float64).to(dtype).requires_grad_()
        loss = (module(x) * random(2, 3, E).to(dtype)).sum()
        found.append([g.double() for g in torch.autograd.grad(loss, (x, *module.parameters()))])
    for mine, exact in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-5)
