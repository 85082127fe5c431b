"""Troubles that are brought about, each of which is named, beside runs in good health, of which nothing is said."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from viva.align.rollout import Rollout
from viva.base.choice import names
from viva.base.config import parse
from viva.train.recipe import Recipe
from viva.train.run import run
from viva.train.vitals import PACKAGE

MODEL = {"kind": "llama", "width": 32, "layers": 1, "heads": 2, "context": 32}
QUESTION, ANSWERS = "`1 + 1` = ", ("1", "2", "3", "4")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run whose model gives each of four answers, and with pairs of which the right one is chosen."""
    place = tmp_path_factory.mktemp("troubles")
    said = [{"prompt": QUESTION, "completion": answer} for answer in ANSWERS]
    pairs = [{"prompt": QUESTION, "chosen": "2", "rejected": wrong} for wrong in ("1", "3", "4")]
    unlike = [{"prompt": QUESTION, "chosen": a, "rejected": b} for a in ANSWERS for b in ANSWERS if a != b]
    alike = [said[1]] * 320
    odd = [*alike[1:], {"prompt": QUESTION, "completion": "never"}]
    files = {"rows": said, "pairs": pairs, "unlike": unlike, "alike": alike, "odd": odd}
    for name, rows in files.items():
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    begun = run(parse(Recipe, recipe(place, "begin") | {"tokenizer": {"vocab_size": 262}, "model": MODEL}))
    assert not begun.troubles
    return place


def recipe(place, out, rows="rows", **train):
    usual = {"steps": 40, "batch": 4, "context": 32, "lr": 1e-2, "precision": "fp32", "device": "cpu"}
    return {
        "out": str(place / out),
        "data": {"kind": "files", "path": str(place / f"{rows}.jsonl")},
        "format": "prompt",
        "valid": 0,
        "train": usual | {"schedule": "constant"} | train,
    }


def troubles(place, request, objective, more=None, **train):
    """What a run with this objective is in trouble by, name by name."""
    given = {"kind": "grpo", "reward": "interpreter", "rollout": {"replies": 8, "max_new_tokens": 3}} | objective
    tree = recipe(place, request.node.name, **train) | {"init": str(place / "begin"), "objective": given}
    done = run(parse(Recipe, tree | (more or {})))
    return {trouble.name: trouble.sentence for trouble in done.troubles}


def prefers(place, request, rows="pairs", loss="sigmoid", **train):
    tree = recipe(place, request.node.name, rows, **train) | {"init": str(place / "begin")}
    objective = {"kind": "dpo", "loss": loss}
    done = run(parse(Recipe, tree | {"objective": objective, "format": {"kind": "preference", "plain": True}}))
    return {trouble.name: trouble.sentence for trouble in done.troubles}


SOLVING = {
    "grpo": {"beta": 0.01, "truth": "number"},
    "raft": {"kind": "raft", "least": 1.0},
    "online_dpo": {"kind": "online_dpo"},
    "rloo": {"advantage": "rloo", "average": "constant"},
    "reinforce_pp": {"advantage": "reinforce_pp", "average": "token"},
    "epochs": {"epochs": 2, "minibatches": 2},
    "ppo": {"kind": "ppo"},
}
QUICK = ("grpo", "raft", "ppo", "sigmoid")
LOSSES = ("sigmoid", "ipo", "hinge", "orpo", "simpo")


def cases(kinds):
    return [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in kinds]


@pytest.mark.parametrize("method", cases(SOLVING))
def test_a_policy_that_solves_its_task_is_in_good_health(place, method, request):
    assert troubles(place, request, SOLVING[method]) == {}


def test_a_reward_that_can_be_hacked(place, request):
    """Long replies are worth most, and no answer is long."""
    long = {"kind": "length", "target": 6}
    found = troubles(
        place,
        request,
        {"reward": long, "truth": "interpreter", "rollout": {"replies": 8, "max_new_tokens": 6}},
        {"held_out": {"kind": "files", "path": str(place / "rows.jsonl")}},
        eval_every=5,
        steps=20,
    )
    assert (
        "the reward rose from" in found["reward_hacking"] and "while the truth fell from 0." in found["reward_hacking"]
    )
    assert "replies have grown to" in found["reply_growth"] and "more than 2 times" in found["reply_growth"]
    assert "of the replies are cut over the last 5 rounds, above 50%" in found["cut_replies"]


def test_a_rate_a_hundred_times_too_high(place, request):
    found = troubles(place, request, {"beta": 0.01}, lr=1.0, steps=6)
    assert "nats a token over the last 5 rounds, above 1" in found["kl_blow_up"]
    assert "the entropy has collapsed to" in found["entropy_collapse"]
    assert "the replies to 100% of the prompts are all worth the same, at a reward of 0" in found["equal_groups"]


def test_many_epochs_without_a_reference(place, request):
    objective = {"epochs": 6, "clip": [0.1, 0.1], "advantage": "reinforce_pp", "average": "token"}
    found = troubles(place, request, objective, lr=3e-2, steps=5)
    assert "of the tokens are clipped over the last 5 rounds, above 30%" in found["clipping"]


def test_a_constant_reward(place, request):
    found = troubles(place, request, {"reward": {"kind": "pattern", "regex": ".*"}}, steps=6)
    assert (
        "the replies to 100% of the prompts are all worth the same, at a reward of 1, above 90%"
        in found["equal_groups"]
    )


def test_a_policy_that_is_held_too_tightly(place, request):
    found = troubles(place, request, {"beta": 1e4}, lr=1e-4, steps=30)
    assert "the policy has not moved: its divergence from the reference is" in found["kl_collapse"]


def test_a_sampler_with_stale_weights(place, request, monkeypatch):
    """One that found each token e times as likely as the trainer does."""
    drawn = Rollout.drawn

    def stale(self, *given):
        return [replace(reply, logs=[log + 1.0 for log in reply.logs]) for reply in drawn(self, *given)]

    monkeypatch.setattr(Rollout, "drawn", stale)
    found = troubles(place, request, {}, steps=6)
    assert "sampler and trainer differ by 1 nats at a token" in found["sampler_gap"]


@pytest.mark.parametrize("reward", [{"kind": "pattern", "regex": "7"}, "interpreter"])
def test_a_reward_that_no_reply_earns(place, request, reward):
    """The model never says 7; the right answer it says now and then."""
    found = troubles(place, request, {"reward": reward, "beta": 0.01}, steps=101)
    if reward == "interpreter":
        assert found == {}
    else:
        assert "the reward does not rise: 0 after 100 rounds, 0 at the start" in found["reward_stuck"]


@pytest.mark.parametrize("rate", [10.0, 0.3])
def test_a_rate_that_rises_until_it_destroys(place, request, rate):
    """A thousandth more of it each round: what solves the task, risen on, undoes it."""
    schedule = {"kind": "constant", "warmup": 1000}
    found = troubles(place, request, {"beta": 0.05}, lr=rate, schedule=schedule, steps=30)
    if rate < 1:
        assert found == {}
    else:
        assert "the reward has fallen to 0" in found["reward_stuck"]


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_a_critic_that_never_learns(place, request, weight):
    found = troubles(place, request, {"kind": "ppo", "critic": {"weight": weight}}, lr=1e-4, steps=35)
    if weight:
        assert found == {}
    else:
        assert list(found) == ["useless_critic"]
        assert "the critic explains 0.00 of the returns' variance after 30 rounds" in found["useless_critic"]


@pytest.mark.parametrize("loss", cases(LOSSES))
def test_preferences_in_good_health(place, request, loss):
    assert prefers(place, request, loss=loss, lr=1e-3, steps=60) == {}


def test_preferences_at_a_rate_far_too_high(place, request):
    found = prefers(place, request, lr=0.3)
    assert "the log-probability of chosen answers fell from -" in found["displacement"]
    assert "by more than 25%, while the margin grew" in found["displacement"]


def test_preferences_that_contradict_each_other(place, request):
    found = prefers(place, request, "unlike", batch=12, steps=60)
    assert "of those trained on are told right after 50 steps" in found["chance_accuracy"]


def learns(place, request, changes, **train):
    """What a run that imitates the answers is in trouble by."""
    done = run(parse(Recipe, recipe(place, request.node.name, **train) | changes))
    return {trouble.name: trouble.sentence for trouble in done.troubles}


def test_a_rate_that_teaches_nothing(place, request):
    found = learns(place, request, {"tokenizer": {"vocab_size": 262}, "model": MODEL}, lr=1e-9, steps=100)
    assert list(found) == ["loss_stuck"] and "the loss does not fall: 5." in found["loss_stuck"]


def test_a_rate_that_destroys(place, request):
    found = learns(place, request, {"init": str(place / "begin")}, lr=3.0, steps=20)
    assert "more than 3 times the 0." in found["loss_blow_up"] and "at the start" in found["loss_blow_up"]
    assert "more than 10 times the 0." in found["gradient_growth"]


def test_usual_rates_are_in_good_health(place, request):
    """Where the runs above learn nothing, and are destroyed."""
    assert learns(place, request, {"tokenizer": {"vocab_size": 262}, "model": MODEL}, steps=100) == {}


def test_a_usual_rate_goes_on_in_good_health(place, request):
    assert learns(place, request, {"init": str(place / "begin")}, steps=20) == {}


@pytest.mark.parametrize("rows", ["odd", "alike"])
def test_a_row_that_is_unlike_all_others(place, request, rows):
    """One of the 80 batches has it, the 59th."""
    found = learns(place, request, {"init": str(place / "begin")}, rows=rows, steps=80, pack=False)
    if rows == "alike":
        assert found == {}
    else:
        assert "the loss leaps to" in found["loss_spike"] and "look for unlike rows in the data" in found["loss_spike"]


def test_every_trouble_is_brought_about_here():
    """By the name each is looked up by in what a run was in trouble by."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'found\["(\w+)"\]', source)) == set(names(PACKAGE))
