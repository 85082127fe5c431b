"""In `rowwise` a row has the bits that it has alone, in whatever company: products and elementwise functions."""

import pytest
import torch
from torch.nn import functional

from viva.base import product
from viva.base.elementwise import alike
from viva.base.product import rowwise
from viva.model.activation import ACTIVATIONS, FUNCTIONS
from viva.model.ffn import moe

pytestmark = pytest.mark.skipif(not product.exact(torch.ones(1)), reason="torch has no oneDNN here")


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("outputs", "inputs"), [(64, 32), (33, 100), (7, 896), (700, 48), (896, 1200)])
def test_a_row_of_a_product_has_its_own_bits(outputs, inputs, threads):
    weight, bias = drawn(outputs, inputs), drawn(outputs)
    x = drawn(150, inputs)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with rowwise():
            alone = torch.cat([product.product(row[None], weight, bias) for row in x])
            for count in (2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 97, 150):
                assert torch.equal(product.product(x[:count], weight, bias), alone[:count])
                assert torch.equal(product.product(x[None, -count:], weight, bias)[0], alone[-count:])
    finally:
        torch.set_num_threads(before)
    # the reference is the sum in twice the precision
    exact = functional.linear(x.double(), weight.double(), bias.double())
    assert float((alone - exact).abs().max()) < 1e-6 * inputs


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_number_has_its_own_bits(name, threads):
    """Widths that fill no vector, and rows that threads would share out between them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for width in (1, 31, 48, 96, 4864, 40_000):
            x = drawn(11 if width > 100 else 400, width)
            with rowwise():
                alone = torch.cat([ACTIVATIONS[name](row[None]) for row in x])
                for count in (2, 3, 7, len(x)):
                    assert torch.equal(ACTIVATIONS[name](x[:count]), alone[:count])
                    assert torch.equal(ACTIVATIONS[name](x[None, -count:])[0], alone[-count:])
            torch.testing.assert_close(alone, FUNCTIONS[name](x.double()).float(), atol=1e-6, rtol=1e-6)
    finally:
        torch.set_num_threads(before)


def test_a_gate_of_one_number_has_its_own_bits():
    """That of Qwen2-MoE's shared expert, over as many tokens as are read at once."""
    torch.manual_seed(0)
    network = moe.Config(hidden=16, experts=4, chosen=2, shared=24).build(32).eval()
    x = drawn(60, 32)
    with rowwise(), torch.inference_mode():
        alone = torch.cat([network(row[None]) for row in x])
        for count in range(2, 61):
            assert torch.equal(network(x[None, :count])[0], alone[:count])


def test_outside_of_it_a_function_is_torch_s_own():
    x, seen = drawn(5, 48), []
    function = alike(lambda x: seen.append(x) or x.sigmoid())
    assert torch.equal(function(x), x.sigmoid()) and seen[0] is x


def test_there_is_something_to_hold():
    """By torch itself the last bits of some row depend on the others, or these tests would show nothing."""
    x = drawn(700, 48)
    differs = (not torch.equal(torch.sigmoid(x)[:n], torch.sigmoid(x[:n])) for n in range(1, 60))
    weight = drawn(896, 1200)
    rows = drawn(64, 1200)
    products = (not torch.equal((rows @ weight.T)[:n], rows[:n] @ weight.T) for n in range(1, 60))
    assert any(differs) or any(products)
