"""A bandit whose best policy is known: a question, four answers that are as likely at first, and the interpreter."""

import json
import math

import pytest
import torch

from viva.base.config import parse
from viva.model import folder
from viva.train.loop import fit
from viva.train.recipe import Recipe, claim
from viva.train.run import assembled, run
from viva.train.start import parts
from viva.train.stop import Asked

QUESTION, ANSWERS, RIGHT = "`1 + 1` = ", ("1", "2", "3", "4"), "2"
MODEL = {"kind": "llama", "width": 32, "layers": 1, "heads": 2, "context": 32}


@pytest.fixture(scope="module")
def begin(tmp_path_factory):
    """A run whose model gives each of the answers."""
    place = tmp_path_factory.mktemp("bandit")
    lines = (json.dumps({"prompt": QUESTION, "completion": said}) + "\n" for said in ANSWERS)
    (place / "rows.jsonl").write_text("".join(lines), encoding="utf-8")
    return run(parse(Recipe, common(place, "begin") | {"tokenizer": {"vocab_size": 262}, "model": MODEL}))


def common(place, out, **train):
    usual = {"steps": 40, "batch": 4, "context": 32, "lr": 1e-2, "precision": "fp32", "device": "cpu"}
    return {
        "out": str(place / out),
        "data": {"kind": "files", "path": str(place / "rows.jsonl")},
        "format": "prompt",
        "valid": 0,
        "train": usual | {"schedule": "constant"} | train,
    }


def taught(begin, out, objective, **train):
    """The model after a run with this objective, and its tokenizer."""
    reward = {"reward": "interpreter", "rollout": {"replies": 8, "max_new_tokens": 3}}
    tree = common(begin.folder.parent, out, **train) | {"init": str(begin.folder), "objective": reward | objective}
    recipe = parse(Recipe, tree)
    where = claim(recipe)
    made = parts(recipe, where)
    job, state = assembled(recipe, where, made)
    assert fit(job, state, Asked())
    return job.model.eval(), made.tokenizer


def right(model, tokenizer):
    """How likely the right answer is."""
    ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(QUESTION), *tokenizer.encode(RIGHT)]])
    with torch.no_grad():
        logs = model(ids)[0].log_softmax(-1)
    return (logs[-2, ids[0, -1]] + logs[-1, tokenizer.eos_id]).exp().item()


def test_all_answers_are_as_likely_at_first(begin):
    found = folder.load(begin.checkpoint)
    assert right(found.model, found.tokenizer) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    "objective",
    [
        {"kind": "grpo"},
        {"kind": "grpo", "advantage": {"kind": "group", "scaled": False}, "average": "constant"},
        {"kind": "grpo", "advantage": "rloo", "average": "constant"},
        {"kind": "grpo", "advantage": "reinforce_pp", "average": "token"},
        {"kind": "grpo", "epochs": 2, "minibatches": 2},
        {"kind": "raft", "least": 1.0},
        {"kind": "online_dpo"},
        {"kind": "ppo", "beta": 0.0},
        {
            "kind": "ppo",
            "beta": 0.0,
            "critic": {"own": True},
            "whiten_rewards": True,
            "whiten_advantages": False,
            "stop": 0.05,
        },
    ],
    ids=["grpo", "dr_grpo", "rloo", "reinforce_pp", "epochs", "raft", "online_dpo", "ppo", "ppo_own"],
)
def test_the_best_policy_is_found(begin, objective, request):
    model, tokenizer = taught(begin, request.node.callspec.id, objective)
    assert right(model, tokenizer) >= 0.95


@pytest.mark.parametrize(
    "objective",
    [
        {"kind": "grpo", "advantage": "rloo", "average": "constant", "estimator": "k1", "penalty": "reward"},
        {"kind": "grpo", "advantage": "rloo", "average": "constant", "estimator": "k2"},
        {"kind": "ppo", "epochs": 2, "lam": 1.0, "whiten_advantages": False},
    ],
    ids=["k1", "k2", "ppo_held"],
)
def test_a_policy_that_is_held_is_the_known_compromise(begin, objective, request):
    """The best policy is p_ref exp(r / beta) / Z: with beta 1/2, e^2 / (e^2 + 3) = 0.711 for the right answer."""
    model, tokenizer = taught(begin, request.node.callspec.id, objective | {"beta": 0.5})
    assert right(model, tokenizer) == pytest.approx(math.exp(2) / (math.exp(2) + 3), abs=0.08)
