"""Strict configuration: what is accepted, how overrides are read, and the sentence for each refusal."""

import pytest
from pydantic import Field

from viva.base.choice import Choice, names, tagged
from viva.base.config import Config, overridden, parse, read
from viva.base.errors import Refusal
from viva.model.position import learned, none, rope
from viva.model.position.scaling import linear


class Inner(Config):
    rate: float = 1.0
    steps: int = 10
    name: str = "x"
    sizes: tuple[int, ...] = ()


class Outer(Config):
    inner: Inner = Inner(rate=2.0, steps=20)
    position: Choice("viva.model.position") = rope.Config(theta=5.0)
    limit: int | None = 3


def refused(tree, *overrides) -> str:
    with pytest.raises(Refusal) as caught:
        parse(Outer, tree, overrides, name="r.yaml")
    return str(caught.value)


def test_overrides_are_read_by_the_type_of_the_field():
    config = parse(Outer, {}, ["inner.rate=3e-4", "inner.name=007", "inner.sizes=[1, 2]", "limit=null"])
    assert config.inner == Inner(rate=3e-4, steps=20, name="007", sizes=(1, 2))
    assert config.limit is None


def test_a_section_is_read_as_one_where_text_would_do():
    class Either(Config):
        tokenizer: str | Inner | None = None
        template: str = ""

    assert parse(Either, {}, ["tokenizer={rate: 2, steps: 3}"]).tokenizer == Inner(rate=2.0, steps=3)
    assert parse(Either, {}, ["tokenizer=runs/x", "template=[MASK]"]) == Either(tokenizer="runs/x", template="[MASK]")


def test_what_only_begins_like_a_section_is_text():
    assert parse(Inner, {}, {"name": "{abc}"}).name == "{abc}"


def test_a_section_that_would_undo_a_field_of_it_is_refused():
    assert parse(Outer, {}, ["inner={steps: 3}", "inner.rate=2"]).inner == Inner(rate=2.0, steps=3)
    said = refused({}, "inner.rate=2", "inner={steps: 3}")
    assert "a section must be set before a field of it, but found inner.rate before inner." in said
    assert "must name each key once" in refused({}, "inner={steps: 3, steps: 4}")


def test_a_list_with_a_wrong_item_is_not_said_to_be_too_short():
    class Several(Config):
        inners: tuple[Inner, ...] = Field(min_length=1)

    with pytest.raises(Refusal) as caught:
        parse(Several, {"inners": [{"rate": 2, "steps": 3, "nmae": "x"}]})
    assert "unknown key 'nmae'" in str(caught.value) and "at least" not in str(caught.value)
    with pytest.raises(Refusal, match="inners: Tuple should have at least 1 item"):
        parse(Several, {"inners": []})


def test_a_section_in_part_keeps_the_rest_of_its_default():
    assert parse(Outer, {"inner": {"rate": 5}}).inner == Inner(rate=5.0, steps=20)
    assert parse(Outer, {"position": {"scaling": {"kind": "linear", "factor": 2}}}).position == rope.Config(
        theta=5.0, scaling=linear.Config(factor=2)
    )


def test_a_variant_is_named_by_its_file():
    assert parse(Outer, {"position": "learned"}).position == learned.Config()
    assert parse(Outer, {"position": "rope"}, ["position.theta=1e6"]).position == rope.Config(theta=1e6)
    assert {"alibi", "learned", "log_n", "none", "rope", "shaw", "sinusoidal", "t5", "xl"} == set(
        names("viva.model.position")
    )
    config = parse(Outer, {"position": none.Config()})
    assert config.model_dump()["position"] == {"kind": "none"} == tagged(config.position)
    assert parse(Outer, config.model_dump(mode="json")) == config


def test_configs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Inner().rate = 2.0


@pytest.mark.parametrize(
    ("tree", "overrides", "expected"),
    [
        ({"inner": {"rat": 1}}, [], "inner: unknown key 'rat'; use 'rate' (the nearest)"),
        ({"iner": {}}, [], "unknown key 'iner'; use 'inner' (the nearest)"),
        ({}, ["inner.steps=fast"], "inner.steps: Input should be a valid integer"),
        ({"inner": {"rate": float("nan")}}, [], "inner.rate: Input should be a finite number"),
        ({"position": "rop"}, [], "position: must be a known kind; use 'rope' (the nearest)"),
        ({"position": {"kind": "rope", "tetha": 1}}, [], "position: unknown key 'tetha'; use 'theta' (the nearest)"),
        ({"position": {"kind": "rope", "scaling": {"kind": "linear"}}}, [], "position.scaling.factor: Field required"),
        ({}, ["limit=1", "limit=2"], "an override must be given once, but found limit=1 and limit=2"),
        ({}, ["inner.rate"], "an override must have the form section.key=value, but found 'inner.rate'"),
    ],
)
def test_refusals_name_the_section_and_the_nearest_key(tree, overrides, expected):
    assert expected in refused(tree, *overrides)


def test_yaml_that_repeats_a_key_or_is_no_mapping_is_refused(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text("limit: 1\nlimit: 2\n")
    with pytest.raises(Refusal, match="'limit' twice"):
        read(Outer, file)
    file.write_text("- 1\n")
    with pytest.raises(Refusal, match="must hold `key: value` lines, but found list"):
        read(Outer, file)
    file.write_text("a: [")
    with pytest.raises(Refusal, match="must be valid YAML"):
        read(Outer, file)
    with pytest.raises(Refusal, match=r"must be an existing file.*r\.yaml"):
        read(Outer, tmp_path / "q.yaml")


def test_an_override_reaches_into_a_list():
    assert overridden({"a": [{"b": 1}, {"b": 2}]}, "a.1.b", 3) == {"a": [{"b": 1}, {"b": 3}]}
    with pytest.raises(Refusal, match="an index into a list of 1"):
        overridden({"a": [1]}, "a.1", 3)
