"""`viva reward report`: what it prints, where it lies, and that it is then known wherever the model is used."""

import json
import random

import pytest

import viva as library
from viva.align import vouched
from viva.base.markdown import table
from viva.model.arch import llama
from viva.model.head import regress
from viva.text.rows.row import Row
from viva.text.rows.split import part_of

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


@pytest.fixture
def run_of(tiny_of, tmp_path):
    """The folder of a run that was trained on the pairs of a file, as its recipe says."""

    def run_of(path, **more):
        model = tiny_of(llama, head=regress.Config(bias=False))
        recipe = {"out": str(model), "init": "base", "data": {"kind": "files", "path": str(path)}, "valid": 0.0}
        recipe |= {"format": {"kind": "preference", "plain": True}, "objective": "reward", "train": {"steps": 1}}
        (model / "recipe.yaml").write_text(json.dumps(recipe | more))
        return model

    return run_of


TRAINED = "pairs are in the data that it was trained on: they do not tell what it is worth on others"


def test_pairs_that_the_run_was_trained_on_are_warned_of(run_of, viva, pairs, tmp_path):
    """By what they say, under another name and among others; with other fields for the format, too."""
    model = run_of(pairs)
    lines = pairs.read_text().splitlines(keepends=True)
    new = [json.dumps({"prompt": "some ", "chosen": f"{n} learn", "rejected": f"{n} merge"}) + "\n" for n in range(20)]
    (tmp_path / "other.jsonl").write_text("".join([*new, *lines[:7]]))
    code, out, err = viva("reward", "report", model, "--data", tmp_path / "other.jsonl", "--train", pairs)
    assert code == 0, err
    assert f"- 7 of these 27 {TRAINED}" in out and "- the baselines learned from 7 of these 27 pairs: " in out
    assert f"the reward model {model}: 7 of these 27 {TRAINED}" in vouched.remarks(model)
    (tmp_path / "new.jsonl").write_text("".join(new))
    _, out, _ = viva("reward", "report", model, "--data", tmp_path / "new.jsonl", "--train", pairs)
    assert TRAINED not in out and "Of these, 0 are in the data that the model was trained on." in out
    _, out, _ = viva("reward", "report", model, "plain=true", "within=50", "--data", pairs, "--train", pairs)
    assert f"- 30 of these 30 {TRAINED}" in out and "- the baselines learned from 30 of these 30 pairs: " in out


def test_pairs_that_the_run_held_out_or_filtered_away_are_not_those_it_was_trained_on(run_of, viva, pairs):
    def seen(**more):
        code, out, err = viva("reward", "report", run_of(pairs, **more), "--data", pairs)
        assert code == 0, err
        return int(out.partition("Of these, ")[2].split()[0])

    rows = [Row(json.loads(line), "") for line in pairs.read_text().splitlines()]
    assert seen(valid=0.5) == sum(part_of(row, 0.5) == "train" for row in rows) not in (0, 30)
    assert seen(valid=0.5, held_out={"kind": "files", "path": str(pairs)}) == 30
    short = sum(len(row.data["chosen"]) <= 20 for row in rows)
    assert seen(filter=[{"kind": "length", "max": 20, "fields": ["chosen"]}]) == short not in (0, 30)


def test_what_the_run_was_trained_on_may_be_gone(run_of, viva, pairs, tmp_path):
    _, out, _ = viva("reward", "report", run_of(tmp_path / "gone.jsonl"), "--data", pairs)
    assert "Whether the model was trained on any of them is not known: " in out and "gone.jsonl" in out
    _, out, _ = viva("reward", "report", run_of(pairs, format="text"), "plain=true", "--data", pairs)
    assert "is not known: the rows that a reward model was trained on must be pairs of answers, but found the" in out


def test_equally_long_answers_make_a_report_without_nan(tiny_of, viva, tmp_path):
    model = tiny_of(llama, head=regress.Config(bias=False))
    rows = [{"prompt": f"{n} ", "chosen": "1", "rejected": "2"} for n in range(12)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = viva("reward", "report", model, "plain=true", "--data", tmp_path / "pairs.jsonl")
    assert code == 0, err
    assert "there is nothing to tell by length" in out and "nan" not in out

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads((model / vouched.FILE).read_text(), parse_constant=refuse)["length"] is None
