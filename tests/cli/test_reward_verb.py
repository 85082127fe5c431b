"""`viva reward report`: what it prints, where it lies, and that it is then known wherever the model is used."""

import json
import random

import pytest

import viva as library
from viva.align import vouched
from viva.base.markdown import table
from viva.model.arch import llama
from viva.model.head import regress

WORDS = ("some", "words", "to", "merge", "learn")


@pytest.fixture
def pairs(tmp_path):
    pick = random.Random(1)
    said = lambda: " ".join(pick.choices(WORDS, k=pick.randint(2, 6)))  # noqa: E731
    rows = [{"prompt": "some ", "chosen": said() + ".", "rejected": said() + "!"} for _ in range(30)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "pairs.jsonl"


def test_a_report_lies_beside_the_model(tiny_of, viva, pairs, tmp_path):
    model = tiny_of(llama, head=regress.Config(bias=False))
    code, out, err = viva("reward", "report", model, "plain=true", "--data", pairs, "--out", tmp_path / "report")
    assert code == 0, err
    assert table("told by", "right, with 95 % interval", "the model ahead", "p", rows=[])[0] in out
    for folder in (model, tmp_path / "report"):
        assert (folder / "reward_report.md").read_text() == out
        assert json.loads((folder / vouched.FILE).read_text())["pairs"] == 30
        assert (folder / "reward_report.png").is_file()
    warned = [line[2:] for line in out.partition("##")[0].splitlines() if line.startswith("- ")]
    assert warned and vouched.remarks(model) == [f"the reward model {model}: {flag}" for flag in warned]
    assert library.load(model).value(["some words"])  # whose folder is as intact as before


def test_a_model_of_words_has_no_rewards(tiny, viva, pairs):
    code, _, err = viva("reward", "report", tiny, "plain=true", "--data", pairs)
    assert code == 2 and "a model must have the head regress to tell values, but found the head lm" in err


def test_fields_are_those_of_the_format(tiny, viva, pairs):
    code, _, err = viva("reward", "report", tiny, "plan=true", "--data", pairs)
    assert code == 2 and "plain" in err
