"""What users get wrong, one by one: each is a sentence and exit code 2, never a traceback."""

import io
import json
import re
import shutil
import sys

import pytest
import yaml

from viva.model.arch import bert, t5
from viva.model.head import classify

TREE = {
    "model": {"kind": "llama", "width": 16, "layers": 1, "heads": 2, "context": 32},
    "tokenizer": {"vocab_size": 270},
    "valid": 0.2,
    "train": {"steps": 2, "batch": 2, "context": 32, "precision": "fp32", "device": "cpu"},
}


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "text.txt").write_text("".join(f"{n} times to be or not to be\n" for n in range(60)), encoding="utf-8")
    data = {"kind": "files", "path": str(tmp_path / "text.txt"), "piece": 80}
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**TREE, "out": str(tmp_path / "run"), "data": data}))
    return file


@pytest.mark.parametrize(("override", "sentence"), [
    ("train.lr=[", "train.lr must have a value that can be read, but found '['"),
    ("seed.x=1", "seed: Input should be a valid integer"),
    ("train.lr.x=1", "train.lr: Input should be a valid number"),
    ("train.steps=true", "'steps' is no switch, but was given True"),
    ("train.optim={kind: adamw, betas: [1, 2]}", "train.optim.betas.0: Input should be less than 1 (given 1)"),
    ("train.device=cuda", "device cuda must be a GPU that torch finds, but found none"),
    ("model.head_dim=5", "heads with rope must have an even width of at least 4, but found 5"),
    ("model.position={theta: 1}", "theta: Input should be greater than 1"),
    ("model={kind: t5, width: 16, layers: 1, heads: 2, position: {farthest: 10}}", "found 10 where 16 of 32 buckets"),
    ("model.kind=lama", "model: must be a known kind; use 'llama' (the nearest)"),
])  # fmt: skip
def test_an_override_that_cannot_be(viva, recipe, override, sentence):
    code, _, err = viva("train", recipe, override)
    assert code == 2 and sentence in err


@pytest.mark.parametrize("place", ["text.txt", "text.txt/below"])
def test_a_run_where_a_file_stands(viva, recipe, tmp_path, place):
    code, _, err = viva("train", recipe, f"out={tmp_path / place}")
    assert code == 2 and "must be a place that can be written, but found" in err
    assert (tmp_path / "text.txt").read_text().startswith("0 times")


def test_a_tokenizer_where_a_file_stands(viva, tmp_path):
    (tmp_path / "text.txt").write_text("some words to merge, some words to learn\n" * 9)
    code, _, err = viva("tokenizer", "train", tmp_path / "text.txt", "--out", tmp_path / "text.txt" / "below")
    assert code == 2 and "must be a place that can be written" in err


def test_minutes_that_are_no_number(viva):
    code, _, err = viva("quickstart", "--minutes", "nan")
    assert code == 2 and "--minutes must be a positive number, but found nan" in err


def test_a_surplus_word_takes_the_one_form(viva):
    code, _, err = viva("generate", "model", "some", "words")
    must = "the words of a command must be those of its verb, but found Unused Tokens: ['words']. To fix it, see"
    assert code == 2 and must in err


def broken(path, name, content):
    (path / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(("name", "content", "sentence"), [
    ("config.json", "{", "config.json must be valid JSON"),
    ("config.json", "[]", "config.json must hold a JSON object, but found list"),
    ("config.json", {"model_type": 3}, "must be a known family, but found 3"),
    ("config.json", {"hidden_size": "big"}, "width: Input should be a valid integer"),
    ("config.json", {"num_attention_heads": 0}, "heads: Input should be greater than 0"),
    ("config.json", {"rope_scaling": "linear"}, "rope_scaling in .* must hold keys of its own"),
    ("config.json", {"rope_scaling": {"rope_type": 3}}, "rope_type in .* must be known, but found 3"),
    ("config.json", {"rope_scaling": {"rope_type": "yarn"}}, "rope fields of yarn .* be there, but found no factor"),
    ("config.json", {"rope_theta": 0}, "theta: Input should be greater than 1"),
    ("tokenizer_config.json", "[1]", "tokenizer_config.json must hold a JSON object"),
    ("model.safetensors.index.json", "{", "index.json must be valid JSON"),
    ("model.safetensors.index.json", {"a": 1}, "must have a weight_map of tensors to files"),
    ("model.safetensors.index.json", {"weight_map": {"a": "../b.safetensors"}}, "to files of that folder, but found"),
])  # fmt: skip
def test_a_folder_with_a_file_of_the_wrong_form(viva, tiny, tmp_path, name, content, sentence):
    path = tmp_path / "model"
    shutil.copytree(tiny, path)
    (path / "viva.json").unlink()
    if name == "config.json" and isinstance(content, dict):
        content = json.loads((path / name).read_text()) | content
    if name.endswith("index.json"):
        (path / "model.safetensors").unlink()
    broken(path, name, content)
    code, _, err = viva("generate", path, "hi")
    assert code == 2
    assert re.search(sentence, err), err


def test_a_model_that_does_not_write(viva, monkeypatch, tiny_of, tmp_path):
    path = tiny_of(bert, head=classify.Config(labels=2))
    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\n"))
    for words in (("generate", path, "hi"), ("chat", path)):
        code, out, err = viva(*words)
        assert (code, out) == (2, "") and err.count("\n") == 1
        assert "must have a decoder to generate text, but found an encoder alone" in err
        assert "this one is used in Python by classify(texts)" in err


def test_a_talk_with_a_model_of_one_text(viva, monkeypatch, tiny_of):
    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\n"))
    code, out, err = viva("chat", tiny_of(t5))
    assert (code, out) == (2, "")
    assert "with an encoder must be given a text, but found [{'role': 'user', 'content': 'hi'}]" in err
    assert "To fix it, give one text to generate from" in err


def test_half_a_surrogate_pair_from_a_shell(viva, tiny):
    for words in (("generate", tiny, "a\udcff"), ("tokenizer", "encode", tiny, "a\udcff")):
        code, _, err = viva(*words)
        assert code == 2 and "text must have whole Unicode characters, but found a lone surrogate at character 1" in err


@pytest.mark.parametrize(("flag", "value"), [("--temperature", "1e-45"), ("--top-p", "1e-320"),
                                             ("--repetition-penalty", "1e-300"),
                                             ("--frequency-penalty", "-3")])  # fmt: skip
def test_a_filter_so_extreme_that_nothing_is_left(viva, tiny, flag, value):
    code, out, err = viva("generate", tiny, "hi", flag, value)
    assert code == 2 and not out and flag[2:].replace("-", "_") in err


@pytest.mark.parametrize("name", ["runs/bse", "./runs/bse"])
def test_a_model_that_is_not_where_its_folder_is_names_the_nearest(viva, tmp_path, monkeypatch, name):
    """Files beside it are no models."""
    for folder in ("base", "other"):
        (tmp_path / "runs" / folder).mkdir(parents=True)
    (tmp_path / "runs" / "bse.txt").touch()
    monkeypatch.chdir(tmp_path)
    for verb in (("chat",), ("tokenizer", "encode")):
        code, _, err = viva(*verb, name, *(["hi"] if verb[0] == "tokenizer" else []))
        assert code == 2 and "must be a folder" in err
        assert err.endswith("To fix it, in runs, use 'base' (the nearest) or another of: base, other.\n")


def test_a_model_whose_folder_is_not_here_is_one_of_the_hub(viva, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = viva("chat", "nobody/nothing")
    assert code == 2 and err.startswith("viva: nobody/nothing must be a folder here or a model on the hub, but found ")
    assert err.endswith("To fix it, check the name and the network.\n")
