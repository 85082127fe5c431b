"""What a family lets one set has an effect: of each field another value is another Spec, or is refused."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydantic import ValidationError

from viva.base.choice import names, variant
from viva.base.config import Config, parse
from viva.base.errors import Refusal

FAMILIES = "viva.model.arch"
NO_PART_OF_THE_SPEC = {"start", "end"}  # with which id a reply begins, and a text ends
WORDS = ("relu", "silu", "gru", "encoder", "xavier", "none", "replaced", "dot", "rope")  # some of each list of names


def others(value: Any) -> list[Any]:
    """Values of the same kind; where there is none, of any kind that a field may be of."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, value + 4]
    if isinstance(value, float):
        return [value / 2 or 0.25]
    if isinstance(value, str):
        return [word for word in WORDS if word != value]
    if isinstance(value, Config):
        return [*WORDS, *(one for field in type(value).model_fields for one in changed(value, field))]
    if isinstance(value, tuple):
        return [(0,), (1, 2), value * 2]
    return [2, 3, 5, 0.25, *WORDS]


def changed(config: Config, field: str) -> Iterator[Config]:
    """The config with each other value of the field that is accepted."""
    for value in others(getattr(config, field)):
        with suppress(Refusal, ValidationError):
            yield type(config).model_validate({**dict(config), field: value})


def specs(config: Config, field: str) -> Iterator[Config]:
    for other in changed(config, field):
        with suppress(Refusal, ValidationError):
            yield other.spec()


@pytest.mark.parametrize("name", names(FAMILIES))
def test_no_field_is_ignored(name):
    tiny = variant(FAMILIES, name).TINY
    found = {field: list(specs(tiny, field)) for field in set(type(tiny).model_fields) - NO_PART_OF_THE_SPEC}
    assert not [field for field, made in found.items() if made and all(one == tiny.spec() for one in made)]


def with_field(field: str) -> list[str]:
    return [name for name in names(FAMILIES) if field in type(variant(FAMILIES, name).TINY).model_fields]


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        (field, value, name)
        for field, value in (("activation", "swishy"), ("eps", 0.0), ("eps", -1.0))
        for name in with_field(field)
    ],
)
def test_a_value_that_cannot_be_is_refused_where_the_recipe_is_read(field, value, name):
    """As a refusal, not only once the Spec is made."""
    tiny = variant(FAMILIES, name).TINY
    with pytest.raises(Refusal, match=f"model must match its schema, but found {field}: Input should be "):
        parse(type(tiny), {**dict(tiny), field: value}, name="model")


@pytest.mark.parametrize(
    ("name", "setting", "expected"),
    [
        ("bert", {"tied": False}, r"unknown key 'tied'"),
        ("clip_text", {"tied": False}, r"unknown key 'tied'"),
        ("qwen2", {"bias": True}, r"unknown key 'bias'"),
        ("qwen2_moe", {"ffn_bias": True}, r"unknown key 'ffn_bias'"),
        ("gemma2", {"ffn_bias": True}, r"unknown key 'ffn_bias'"),
        ("qwen2_moe", {"hidden": 48}, "hidden must be the width of layers without experts, but found experts in every"),
    ],
)
def test_a_setting_of_another_family_is_refused(name, setting, expected):
    tiny = variant(FAMILIES, name).TINY
    with pytest.raises(Refusal, match=expected):
        parse(type(tiny), {**dict(tiny), **setting})
