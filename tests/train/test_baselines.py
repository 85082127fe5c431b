"""Recurrent and convolutional models learn in the one loop, from the recipes of a Transformer."""

import json
import random

import numpy as np
import pytest
import torch

import viva
from viva.base.errors import Refusal
from viva.model.arch import rnn
from viva.model.init import initialise
from viva.train.data import Data
from viva.train.job import Job, State, Train
from viva.train.objective import seq2seq
from viva.train.optim import adamw
from viva.train.precision import Precision
from viva.train.run import run
from viva.train.step import update

from .fakes import Memory
from .runs import job, recipe, text

V, START, END, LENGTH = 12, 1, 2, 5


def reversals(count, seed):
    """[count, 5] random symbols; what is asked for is the same backwards."""
    return np.random.default_rng(seed).integers(3, V, (count, LENGTH))


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_attention_learns_to_reverse(score, tmp_path):
    """Five symbols in reverse order, symbol for symbol, of sequences never trained on."""
    words = reversals(2000, seed=0)
    documents = Memory([[*word, START, *word[::-1], END] for word in words])
    documents.cuts = np.full(len(words), LENGTH)
    config = rnn.Config(vocab=V, width=32, layers=1, context=16, attention=score)
    model = initialise(config.spec().build(), seed=1)
    train = Train(steps=400, batch=32, context=16, lr=1e-2)
    data, objective = Data(documents, train, seq2seq.Pairs(pad=0)), seq2seq.Config()
    objective.require(model)
    optimizer, precision = adamw.Config().build(model), Precision("fp32", "cpu")
    work, state = Job(tmp_path, model, optimizer, data, objective.build(), precision, train), State(steps=400)
    while state.step < state.steps:
        update(work, state)
    asked = reversals(200, seed=1)
    assert np.mean((replies(model.eval(), asked) == asked[:, ::-1]).all(1)) > 0.95


@torch.no_grad()
def replies(model, asked):
    """The most likely symbols, one by one."""
    memory, cache = model.encode(torch.from_numpy(asked)), model.cache(len(asked), LENGTH)
    token, found = torch.full((len(asked), 1), START), []
    for _ in range(LENGTH):
        token = model(token, cache=cache, memory=memory).argmax(-1)
        found.append(token)
    return torch.cat(found, 1).numpy()


@pytest.mark.parametrize("attention", [None, "dot"])
def test_a_recipe_trains_a_translator(tmp_path, attention):
    """Word for word."""
    words = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}
    pick, lines = random.Random(0), []
    for _ in range(400):
        said = pick.choices(list(words), k=pick.randint(1, 2))
        lines.append(json.dumps({"source": " ".join(said), "target": " ".join(words[word] for word in said)}))
    (tmp_path / "data.jsonl").write_text("\n".join(lines) + "\n")
    model = {"kind": "rnn", "width": 32, "layers": 1, "context": 32, "attention": attention}
    changes = {"model": model, "format": "parallel", "objective": "seq2seq", "train.steps": 150, "train.batch": 32}
    done = run(recipe(tmp_path, changes | {"train.lr": 1e-2}))
    found = viva.load(done.folder).translate(["three one", "two four", "two"])
    assert found == ["drei eins", "zwei vier", "zwei"]


LANGUAGE_MODEL = {"kind": "rnn", "parts": "decoder", "width": 16, "layers": 2, "context": 32, "dropout": 0.1}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recipe_trains_a_language_model_that_generates(tmp_path, cell):
    done = run(recipe(tmp_path, {"model": LANGUAGE_MODEL | {"cell": cell}, "train.steps": 30, "train.lr": 3e-2}))
    records = [json.loads(line) for line in (done.folder / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"] - 1
    model = viva.load(done.folder)
    assert model.model.spec.decoder.cell == cell
    assert model.generate("the cat", max_new_tokens=8, temperature=0)


@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_every_weight_moves(tmp_path, optim):
    work, state = job(tmp_path, {"model": LANGUAGE_MODEL, "train.optim": optim})
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    update(work, state)
    after = dict(work.model.named_parameters())
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_muon_steps_each_gate_by_itself(tmp_path):
    """The direction of every gate's matrix has singular values near 1; of all four as one they would be near 1 / 2."""
    rate = {"train.optim": {"kind": "muon", "weight_decay": 0.0}, "train.lr": 1.0}
    work, state = job(tmp_path, {"model": LANGUAGE_MODEL, "train.clip": 0} | rate)
    before = work.model.decoder.cells.weight_hh_l0.clone()
    update(work, state)
    for gate in ((before - work.model.decoder.cells.weight_hh_l0) / (0.2 * 16**0.5)).split(16):
        assert torch.linalg.svdvals(gate.detach()).median() > 0.7


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "cnn", "width": 15, "context": 32},
        {"kind": "rnn", "parts": "encoder", "width": 16, "layers": 1, "context": 32},
        {"kind": "rnn", "parts": "encoder", "width": 16, "layers": 1, "context": 32, "both_ways": True},
    ],
)
def test_a_recipe_trains_a_classifier(tmp_path, model):
    """Whether a sentence has a cat or a rat in it; guessing is right half of the time."""
    pick = random.Random(0)
    words = ["the", "a", "dog", "sees", "hears", "likes", "big", "small"]
    lines = []
    for number in range(400):
        said = pick.choices(words, k=pick.randint(3, 9))
        said[pick.randrange(len(said))] = "cat" if number % 2 else "rat"
        lines.append(json.dumps({"text": " ".join(said), "label": ["no", "yes"][number % 2]}))
    (tmp_path / "data.jsonl").write_text("\n".join(lines) + "\n")
    changes = {"model": model, "format": "classes", "objective": "classify", "train.steps": 120, "train.batch": 16}
    done = run(recipe(tmp_path, changes | {"train.lr": 1e-2, "train.eval_every": 120}))
    assert done.metrics["valid_accuracy"] > 0.95


def test_what_belongs_to_blocks_is_refused(tmp_path):
    text(tmp_path / "data.jsonl")
    for name in ("recompute", "compile"):
        with pytest.raises(Refusal, match="must have blocks to be recomputed or compiled, but found none"):
            run(recipe(tmp_path, {"model": LANGUAGE_MODEL, f"train.{name}": True}))
