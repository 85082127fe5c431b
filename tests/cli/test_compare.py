"""What `viva compare` prints: the fields in which Specs differ, and no others."""

import pytest

from viva.base.choice import names
from viva.cli import compare
from viva.model.arch import albert, bert, llama, qwen
from viva.model.folder import FAMILIES
from viva.model.head import classify


def rows(printed: str) -> dict[str, list[str]]:
    """The cells of a printed table by the first of each row."""
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in printed.splitlines()]
    return {first: rest for first, *rest in reversed(cells)}  # lines that a cell is wrapped to have no first


def test_bert_beside_llama_beside_t5(viva):
    code, out, err = viva("compare", "bert", "llama", "t5")
    found = rows(out)
    assert (code, err, found[""]) == (0, "", ["bert", "llama", "t5"])
    assert found["encoder"] == ["given", "none", "given"]
    assert found["decoder"] == ["none", "given", "given"]
    assert found["blocks.attention.causal"] == ["false", "true", "encoder false; decoder true"]
    assert found["blocks.attention.score"] == ["dot (scale sqrt)", "dot (scale sqrt)", "dot (scale 1.0)"]
    assert found["blocks.attention.position"][0] == "none"
    assert found["blocks.attention.position"][1].startswith("rope (theta 10000.0")
    assert found["blocks.attention.position"][2] == "t5 (buckets 32, farthest 128)"
    assert found["blocks.cross"] == ["none", "none", "encoder none; decoder given"]
    assert found["blocks.ffn"] == ["mlp (activation gelu, bias)", "glu (activation silu)", "mlp (activation relu)"]
    assert found["blocks.norm"] == ["layernorm (bias)", "rmsnorm", "rmsnorm"]
    assert found["blocks.norm_at"] == ["post", "pre", "pre"]
    assert found["entry.position"] == ["learned (offset 0)", "none", "none"]
    assert found["entry.segments"] == ["2", "0", "0"]
    assert found["head"][0].startswith("masked (activation gelu") and found["head"][2] == "lm (tied, scaled)"
    assert not {field for field in found if field.endswith(("heads", "dropout", "layers", "hidden"))}
    assert len(found) < 20


def test_blocks_that_take_turns_are_told_one_by_one(viva):
    found = rows(viva("compare", "llama", "gemma2", "--sizes")[1])
    assert found["blocks.attention.window"] == ["none", "block 0 4096; block 1 none"]
    assert found["layers"] == ["2", "3"]
    assert found["blocks.norm"] == ["rmsnorm (eps 1e-06)", "rmsnorm (eps 1e-06, centred)"]


def test_what_stands_inside_a_choice_is_told():
    """Groups and factors are mechanisms, not sizes; a section inside a choice has its fields too."""

    def told(family, **fields):
        made = family.TINY.model_copy(update=fields)
        return compare.facts(made.spec().model_dump(mode="json"), compare.SIZES)

    heads = [told(llama, kv_heads=n)["blocks.attention.kv_heads"] for n in (1, 2, 4)]
    assert llama.TINY.heads == 4 and heads == ["one", "fewer than heads", "as heads"]
    assert told(albert)["entry.inner"] != told(bert)["entry.inner"] == "none"
    classifier = {"head": bert.TINY.fitted(classify.Config(labels=2))}
    assert told(bert, **classifier)["head"] == "classify (labels 2, dense tanh, bias)"  # dropout is none of it
    position = qwen.TINY.position.model_copy(update={"theta": 1e6})
    rows = compare.differing([told(qwen), told(qwen, position=position)])
    assert [row[0] for row in rows] == ["blocks.attention.position"] and "theta 1000000.0" in rows[0][2]


def test_a_folder_is_compared_with_a_family(viva, tiny):
    code, out, err = viva("compare", "llama", tiny)
    assert (code, err, rows(out)["head"]) == (0, "", ["lm (tied)", "lm"])
    assert rows(out)["blocks.attention.kv_heads"] == ["as heads", "fewer than heads"]
    assert len(out.splitlines()) == 4  # the heads, a rule, and these rows


def test_a_narrow_terminal_shows_all_the_same(viva, monkeypatch):
    wide = viva("compare", "bert", "llama", "t5")[1]
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    narrow = viva("compare", "bert", "llama", "t5")[1]
    assert max(map(len, narrow.splitlines())) <= 70 < max(map(len, wide.splitlines()))
    assert rows(wide).keys() == rows(narrow).keys() and "…" not in narrow


def test_equal_models_do_not_differ(viva):
    assert viva("compare", "bert", "bert") == (0, "they do not differ but in sizes: see --sizes\n", "")
    assert viva("compare", "bert", "bert", "--sizes") == (0, "they do not differ\n", "")


def test_what_one_model_alone_has_is_a_difference(viva):
    """Its cell says it, the others' are empty; of a section that one has not there is one row, and none where both do
    without."""
    assert rows(viva("compare", "rnn", "original")[1]) == {
        "": ["rnn", "original"],
        "-" * 12: ["-" * 7, "-" * 10],
        "cell": ["lstm", ""],
        "both_ways": ["false", ""],
        "blocks": ["", "given"],
        "entry": ["", "given"],
        "final_norm": ["", "false"],
        "share": ["", "1"],
        "recall": ["", "0"],
        "init": ["", "xavier"],
    }
    assert rows(viva("compare", "rnn", "cnn")[1])["windows"] == ["", "[3, 4, 5]"]
    found = rows(viva("compare", "rnn", "llama", "transfo_xl")[1])
    assert found["blocks.norm"] == ["", "rmsnorm", "layernorm (bias)"]  # in which the two that have blocks differ
    assert "blocks.attention.causal" not in found


def test_what_cannot_be_compared_is_refused(viva):
    assert viva("compare", "bert")[2].startswith("viva: two models at least must be named to compare, but found 1.")
    unknown = "must be a family, a folder or a hub id, but found 'brt'. To fix it, use 'bert'"
    assert unknown in viva("compare", "bert", "brt")[2]
    assert "must have a Spec to be compared, but found custom" in viva("compare", "bert", "custom")[2]


@pytest.mark.parametrize("name", sorted(set(names(FAMILIES)) - {"custom"}))
def test_every_family_can_be_compared(name):
    found = compare.facts(compare.spec(name).model_dump(mode="json"), compare.SIZES)
    assert "given" in (found["encoder"], found["decoder"])
