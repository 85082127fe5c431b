"""The main job, small: everything happens, and the report says what the runs and the interpreter say."""

import re

import pytest

from viva import quickstart
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
    for file in ("loss.png", "base/loss.png"):
        assert f"]({file})" in report and (done / file).read_bytes()[:4] == b"\x89PNG"


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
    from viva.text.rows.expression import verify

    assert all(verify(expression, answer) for expression, answer in rows)
