"""The main job, small: everything happens, and the report says what the runs and the interpreter say."""

import json
import re
from itertools import pairwise

import pytest
import yaml

from viva import quickstart
from viva.text.rows.expression import verify
from viva.train import metrics


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart") / "out"
    quickstart.run(fast=True, out=out)
    return out


def test_the_report_says_what_was_recorded(done):
    report = (done / "report.md").read_text(encoding="utf-8")
    bits = metrics.read(done / "base")[-1]["valid_bits_per_byte"]
    assert f"| the model | {bits:.3f} |" in report and f"Held-out Python: {bits:.3f} bits a byte" in report
    for file in ("tuned/loss.png", "base/loss.png"):
        assert f"]({file})" in report and (done / file).read_bytes()[:4] == b"\x89PNG"


def test_every_stage_is_a_run_that_goes_on_from_the_one_before(done):
    folders = [done / "base", done / "tuned", done / "preferred", done]
    for before, after in pairwise(folders):
        recipe = yaml.safe_load((after / "recipe.yaml").read_text(encoding="utf-8"))
        assert recipe["init"] == str(before)
    report = (done / "report.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (pretraining|tuning|preferences|reward) \| .* \| (\S+) \|$", report, re.MULTILINE)
    assert rows == list(zip(("pretraining", "tuning", "preferences", "reward"), map(str, folders), strict=True))
    assert [len(metrics.read(folder)) for folder in folders] == [20, 20, 4, 2]


def test_pairs_are_of_right_answers_and_wrong_ones(done):
    rows = [json.loads(line) for line in (done / "preferred" / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        (expression,) = re.findall("`(.+)`", row["prompt"])
        assert verify(expression, row["chosen"]) and row["rejected"] != row["chosen"]
    assert rows


def test_the_compressors_are_those_of_the_held_out_text(done):
    """gzip and xz of a few short files of Python: 2 to 4 bits a byte, gzip's header being the smaller one."""
    report = (done / "report.md").read_text(encoding="utf-8")
    found = {name: float(bits) for name, bits in re.findall(r"\| (gzip -9|xz -9) \| ([\d.]+) \|", report)}
    assert set(found) == {"gzip -9", "xz -9"} and all(1.5 < bits < 4 for bits in found.values())


def test_the_samples_are_right_answers_to_their_questions(done):
    """The last column is the interpreter's reply to the expression in the first."""
    report = (done / "report.md").read_text(encoding="utf-8").partition("A task of each family")[2]
    rows = re.findall(r"^\| .*?`(.+?)`.*? \| `.*` \| `(.*)` \|$", report, re.MULTILINE)
    assert len(rows) >= 10
    assert all(verify(expression, answer) for expression, answer in rows)
