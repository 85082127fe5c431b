"""What a run leaves for the user to read."""

import json

import pytest

from viva.base.errors import Refusal
from viva.train import metrics
from viva.train.flops import train_flops
from viva.train.job import State
from viva.train.report import Report, line, remaining
from viva.train.run import _closing, run

from .runs import job, recipe

RECORD = {"step": 3, "loss": 2.5, "lr": 0.1, "norm": 1.0, "tokens": 500, "seconds": 0.5}


def test_shares_and_rates_by_hand(tmp_path):
    """500 tokens in 0.5 s are 1000 a second; at 2 GFLOP each, 2000 of the peak's 4000 GFLOP/s."""
    Report(tmp_path, flops=2e9, peak=4000.0).log(State(step=3, steps=9), RECORD)
    [record] = metrics.read(tmp_path)
    assert (record["tokens_per_s"], record["peak_share"]) == (1000.0, 0.5)
    assert line(record) == "loss 2.500  1,000 tokens/s  50% of the matrix peak"


def test_no_loss_is_called_less_than_nothing(tmp_path):
    """The held-out loss of a policy whose replies are worth 0, or hardly more: minus that."""
    told = RECORD | {"loss": -1e-9, "valid_loss": -0.0, "tokens_per_s": 1.0, "peak_share": 0.5}
    assert line(told) == "loss 0.000  held out 0.000  1 tokens/s  50% of the matrix peak"
    said = _closing(tmp_path, State(step=9, best=-0.0, best_step=3), finished=True, halted=False)
    assert said.startswith("finished after step 9, the lowest held-out loss 0.000 at step 3;")
    assert "loss -0.125 " in _closing(tmp_path, State(step=9, best=-0.125, best_step=3), finished=True, halted=False)


def test_the_time_left_by_hand():
    assert remaining(State(step=10, steps=100), seconds=20.0, steps=5) == "0:06:00 left"
    assert remaining(State(step=1), seconds=1.0, steps=1) == "measuring the pace"


def test_a_line_cut_short_by_a_kill_is_left_out_and_mended(tmp_path):
    for step in (1, 2, 3):
        metrics.append(tmp_path, {**RECORD, "step": step})
    with open(tmp_path / metrics.FILE, "a") as file:
        file.write('{"step": 4, "lo')
    metrics.rewind(tmp_path, 2)
    metrics.append(tmp_path, {**RECORD, "step": 3, "loss": 7.0})
    assert [(r["step"], r["loss"]) for r in metrics.read(tmp_path)] == [(1, 2.5), (2, 2.5), (3, 7.0)]


def test_a_run_leaves_its_metrics_and_a_picture(tmp_path):
    done = run(recipe(tmp_path, {"train.eval_every": 3}))
    records = [json.loads(text) for text in (done.folder / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert [r["step"] for r in records if "valid_loss" in r] == [3, 6]
    assert (done.folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(Refusal, match=r"train\.tensorboard needs TensorBoard, but found it is not installed"):
        Report(tmp_path, 1.0, 1.0, tensorboard=True)


def test_flops_by_hand(tmp_path):
    """llama, E 16, F 24, 2 layers, H 2, G 1, D 8, V 300, T 32.

    A layer's matrices: q and out 2 * 16 * 16, k and v 2 * 16 * 8, SwiGLU 3 * 16 * 24: 1920. Head: 300 * 16 = 4800.
    6 * (2 * 1920 + 4800) = 51840. Attention: 12 * 16 * 2 layers * (H D = 16) = 6144.
    """
    work, _ = job(tmp_path)
    assert train_flops(work.model, 32) == 51840 + 6144
