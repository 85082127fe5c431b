"""A head that no class of the family in transformers has: said before it is trained and when it is saved, and
config.json names none of their classes.
"""

import json
import warnings

import pytest
import torch

import viva
from viva.api import LanguageModel
from viva.base.choice import variant
from viva.base.errors import Notice
from viva.model import folder
from viva.model.init import initialise

SIZES = {"vocab": 64, "width": 32, "layers": 2, "heads": 4, "context": 64}
PLAIN = "classify labels=2 pool='first'"
OTHERS = {  # the family, its head, and what transformers would take it for
    "mean": ("bert", {"kind": "classify", "labels": 2, "pool": "mean", "dense": "tanh"}, f"{PLAIN} dense='tanh'"),
    "max": ("distilbert", {"kind": "classify", "labels": 2, "pool": "max", "dense": "relu"}, f"{PLAIN} dense='relu'"),
    "undense": ("roberta", {"kind": "classify", "labels": 2}, f"{PLAIN} dense='tanh'"),
    "relu": ("bert", {"kind": "masked", "activation": "relu"}, "masked"),
    "scaled": ("gpt2", {"kind": "lm", "scaled": True}, "lm"),
    "cap": ("llama", {"kind": "lm", "cap": 5.0}, "lm"),
    "bias": ("llama", {"kind": "classify", "labels": 2}, "classify labels=2 pool='last' bias=False"),
    "value": ("bert", {"kind": "regress"}, "regress pool='first' dense='tanh'"),
    "t5": ("t5", {"kind": "lm"}, "lm scaled=True"),
}


def made(family: str, head: dict) -> LanguageModel:
    config = variant("viva.model.arch", family).Config(**SIZES, head=head)
    return LanguageModel(config, initialise(config.spec().build(), 0).eval(), None, "new")


@pytest.mark.parametrize(("family", "head", "theirs"), OTHERS.values(), ids=OTHERS)
def test_a_head_of_ours_alone_is_said_and_no_class_of_theirs_named(family, head, theirs, tmp_path):
    model = made(family, head)
    with pytest.warns(Notice) as told:
        model.save(tmp_path / "m")
    (said,) = [str(each.message) for each in told]
    assert said.startswith(f"transformers has no class of {family} with the head {head['kind']}")
    assert said.endswith(f"would compute something else, as if the head were {theirs}")
    assert json.loads((tmp_path / "m" / "config.json").read_text())["architectures"] is None
    loaded = viva.load(tmp_path / "m")
    assert loaded.spec == model.spec
    assert all(map(torch.equal, loaded.model.parameters(), model.model.parameters()))


def test_dropout_alone_makes_no_other_head(tmp_path):
    """It is not written for the head that finds answers, and trained models have none."""
    model = made("bert", {"kind": "span", "dropout": 0.1})
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        model.save(tmp_path / "m")
    assert json.loads((tmp_path / "m" / "config.json").read_text())["architectures"] == ["BertForQuestionAnswering"]
    assert viva.load(tmp_path / "m").spec == model.spec


@pytest.mark.parametrize("cap", [7.0, None])
def test_what_config_json_can_say_of_a_head_it_says(cap, tmp_path):
    model = made("gemma2", {"kind": "lm", "cap": cap})
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        model.save(tmp_path / "m")
    said = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (said["architectures"], said["final_logit_softcapping"]) == (["Gemma2ForCausalLM"], cap)
    assert "viva_head" not in said


def test_a_run_begins_by_saying_it():
    model = made("llama", {"kind": "lm", "cap": 5.0})
    with pytest.warns(Notice, match="transformers has no class of llama with the head lm cap=5.0"):
        folder.require_savable(model.config, model.model)
