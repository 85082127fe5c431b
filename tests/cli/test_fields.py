"""What `viva fields` prints: every field of every section of a recipe."""

import re

import pytest

from viva.base.choice import names, variant

FOLDERS = {
    "model": "viva.model.arch",
    "position": "viva.model.position",
    "scaling": "viva.model.position.scaling",
    "score": "viva.model.score",
    "norm": "viva.model.norm",
    "ffn": "viva.model.ffn",
    "head": "viva.model.head",
    "data": "viva.text.rows.corpus",
    "format": "viva.text.rows.format",
    "filter": "viva.text.rows.filter",
    "objective": "viva.train.objective",
    "optim": "viva.train.optim",
    "schedule": "viva.train.schedule",
    "sampler": "viva.train.search.sampler",
    "pruner": "viva.train.search.pruner",
}
KINDS = [(section, kind) for section, folder in FOLDERS.items() for kind in names(folder)]


def row(printed: str, field: str) -> list[str]:
    *_, line = [line for line in printed.splitlines() if line.startswith(f"| {field} ")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_recipe_and_its_sections(viva):
    code, out, err = viva("fields")
    assert (code, err) == (0, "")
    assert row(out, "out") == ["text", "must be given"]
    assert row(out, "valid") == ["number, at least 0, below 1", "0.02"]
    assert row(out, "optim") == ["one of adam, adamw, muon, rmsprop, sgd"]
    assert row(out, "cross") == ["the fields of Attention"]
    assert row(out, "sampler") == ["one of grid, random, tpe"]
    assert row(out, "search") == ["the fields of Plan"]
    scores = "one of additive, bilinear, cosine, dot, linear"
    assert row(out, "attention") == [f"{scores}; or the fields of Weights; or the fields of Attention"]


@pytest.mark.parametrize(("words", "field", "cells"), [
    ("optim adamw", "betas", ["list of 2: number, at least 0, below 1", "0.9, 0.95"]),
    ("optim muon", "dtype", ["auto or float32 or bfloat16", "auto"]),
    ("objective masked", "share", ["number, above 0, at most 1", "0.15"]),
    ("position rope", "theta", ["number, above 1", "10000.0"]),
    ("score dot", "scale", ["sqrt or number, above 0", "sqrt"]),
    ("model llama", "kv_heads", ["whole number or none, above 0", "none"]),
    ("model t5", "position", ["the fields of t5", "t5"]),
    ("model cnn", "windows", ["list of whole number, in number at least 1", "3, 4, 5"]),
    ("train", "lr", ["number, above 0", "0.0003"]),
    ("blocks", "norm_at", ["pre or post or sandwich", "pre"]),
    ("attention", "qk_norm", ["a kind of norm or none", "none"]),
    ("encoder", "entry", ["the fields of Entry", "Entry"]),
    ("tokenizer byte_bpe", "digits", ["single or three or any", "single", "how many digits a token may hold"]),
    ("head", "none", ["No head: the states themselves."]),
    ("sampler tpe", "startup", ["whole number, at least 0", "10"]),
    ("pruner halving", "factor", ["whole number, at least 2", "4"]),
    ("sampler", "random", ["Settings drawn independently (Bergstra and Bengio 2012)."]),
    ("pruner", "none", ["Every trial comes to its end."]),
    ("search", "goal", ["min or max", "min"]),
    ("search", "space", ["by name: the fields of Range or list of any value, in number at least 1", "must be given"]),
    ("train", "rates", ["by name: number, above 0", "none"]),
    ("space", "log", ["true or false", "false"]),
])  # fmt: skip
def test_a_field_with_its_type_and_default(viva, words, field, cells):
    code, out, err = viva("fields", *words.split())
    assert (code, err, row(out, field)) == (0, "", cells)


def test_what_documents_the_fields_is_shown(viva):
    out = viva("fields", "model", "llama")[1]
    assert out.startswith("llama: LLaMA 1 to 3 (Touvron et al. 2023")
    assert "`ffn_bias` that of the feed-forward networks" in out and "rounded up to a multiple of 64" in out


def test_each_scheme_of_positions_says_whether_it_extrapolates(viva):
    """Two were measured to: tests/learns/test_extrapolation.py."""
    out = viva("fields", "position")[1]
    last = {kind: row(out, kind)[0].partition("It ")[2] for kind in names(FOLDERS["position"])}
    does = "extrapolates to four times the trained length."
    assert last == {kind: does if kind in ("alibi", "xl") else "does not extrapolate." for kind in last}
    assert viva("fields", "position", "xl")[1].partition("\n")[0].endswith(does)


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_kind_shows_every_field(viva, name, kind):
    code, out, err = viva("fields", name, kind)
    assert (code, err) == (0, "")
    assert all(row(out, field) for field in variant(FOLDERS[name], kind).Config.model_fields)


@pytest.mark.parametrize("kind", [kind for name, kind in KINDS if name == "objective"])
def test_of_an_objective_it_is_said_what_it_does_and_not_where(viva, kind):
    """No files, classes or fields that a recipe has not, and nothing to be looked up at another objective."""
    out = viva("fields", "objective", kind)[1]
    assert not re.search(r"\.py|file's|\bConfig\b|Rewritten|fields are those of|as in causal|as of the", out)


def test_an_unknown_section_or_kind_is_told_the_nearest(viva):
    code, _, err = viva("fields", "hed")
    assert code == 2 and "must be a section of a recipe, but found 'hed'. To fix it, use 'head' (the nearest)" in err
    code, _, err = viva("fields", "position", "rop")
    assert code == 2 and "position must be of a known kind, but found 'rop'. To fix it, use 'rope'" in err
