"""The published sizes of GPT-2 and GPT-3 have the parameters they are named for.

GPT-2's exactly, as the released weights have them. GPT-3's as near as table 2.1 of Brown et al. 2020 tells, 2 %. It
gives two or three digits, and calls 356 million 350 (1.7 %) and 2.65 billion 2.7 (1.8 %). Its 13.0 billion are of a
width of 5140, which 40 heads of 128 do not fill; the 5120 that they fill make 12.85 (1.1 %). Its 1.3 billion have 24
heads of 128 in a width of 2048, which would make 1.52; 16 make 1.316.
"""

import pytest

from viva.base.config import parse
from viva.model.arch import gpt2
from viva.model.init import hollow
from viva.model.transformer import Transformer
from viva.train.recipe import Recipe

GPT2 = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
}
GPT3 = {
    "gpt3-125m": 125e6,
    "gpt3-350m": 350e6,
    "gpt3-760m": 760e6,
    "gpt3-1.3b": 1.3e9,
    "gpt3-2.7b": 2.7e9,
    "gpt3-6.7b": 6.7e9,
    "gpt3-13b": 13e9,
    "gpt3-175b": 175e9,
}


def parameters(name: str) -> int:
    with hollow():
        return sum(parameter.numel() for parameter in Transformer(gpt2.SIZES[name].spec()).parameters())


@pytest.mark.parametrize("name", GPT2)
def test_gpt2_has_as_many_parameters_as_its_weights(name):
    assert parameters(name) == GPT2[name]


@pytest.mark.parametrize("name", GPT3)
def test_gpt3_has_the_parameters_of_its_name(name):
    assert parameters(name) == pytest.approx(GPT3[name], rel=0.02)


def test_every_published_size_is_tested():
    assert set(gpt2.SIZES) == set(GPT2) | set(GPT3)


def test_a_recipe_in_python_takes_a_size():
    tree = {"out": "o", "data": {"kind": "python"}, "train": {"steps": 1}, "model": gpt2.SIZES["gpt3-125m"]}
    recipe = parse(Recipe, tree)
    assert recipe.model.spec() == gpt2.SIZES["gpt3-125m"].spec()
    assert recipe.resolved()["model"] | {"kind": "gpt2", "width": 768, "layers": 12} == recipe.resolved()["model"]
