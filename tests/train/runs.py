"""A whole run small enough for a test: a real tokenizer, a real model, text made up on the spot."""

import json
import os
import random
import signal

from safetensors.torch import load_file

from viva.base.config import parse
from viva.cli import told
from viva.train import checkpoint, metrics, start
from viva.train.preview import preview
from viva.train.recipe import Recipe, claim
from viva.train.run import assembled, run

WORDS = ("the", "a", "cat", "dog", "sees", "hears", "likes", "big", "small", "red", "old", "and", "never")


def text(path, rows=60, seed=0):
    """A jsonl file of sentences; returns its path."""
    pick = random.Random(seed)
    lines = (" ".join(pick.choices(WORDS, k=pick.randint(3, 30))) + "." for _ in range(rows))
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    return path


def recipe(folder, changes=None, out="run"):
    """A run of 6 steps of 3 rows of up to 32 tokens, in fp32, in `folder`/`out`; `changes` are dotted overrides."""
    data = folder / "data.jsonl"
    if not data.exists():
        text(data)
    tree = {
        "out": str(folder / out),
        "model": {"kind": "llama", "width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "hidden": 24, "context": 32},
        "tokenizer": {"vocab_size": 300},
        "data": {"kind": "files", "path": str(data)},
        "valid": 0.2,
        "train": {"steps": 6, "batch": 3, "context": 32, "lr": 1e-2, "schedule": "constant"},
    }
    return parse(Recipe, tree, {"train.precision": "fp32", "train.device": "cpu"} | (changes or {}))


def weights(run, step, file="model.safetensors"):
    """The tensors of a checkpoint."""
    return load_file(checkpoint.place(run, step) / file)


def job(folder, changes=None, out="run"):
    """The parts of such a run put together, and its first state, for tests that look inside."""
    given = recipe(folder, changes, out)
    where = claim(given)
    return assembled(given, where, start.parts(given, where))


def looked(given):
    """Print what a dry run finds."""
    told.tell(preview(given))


def stop_after(monkeypatch, step):
    """Send this process SIGTERM when that step is recorded."""
    append = metrics.append

    def append_and_stop(run, record):
        append(run, record)
        if record["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(metrics, "append", append_and_stop)


def straight_and_resumed(monkeypatch, made):
    """The run of the recipe made("straight"), and that of made("resumed"), stopped after 3 steps and gone on with."""
    straight = run(made("straight"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert not run(made("resumed")).finished
    return straight, run(made("resumed"))
