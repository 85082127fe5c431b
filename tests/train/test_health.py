"""What is told of a run's records: each threshold from both sides, every trouble once, at the end again."""

import math

import pytest
import torch
import yaml
from pydantic import ValidationError

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.cli import main
from viva.cli.health import health as verb
from viva.train import metrics
from viva.train.evaluation import evaluate
from viva.train.experience import _mean
from viva.train.health._history import History
from viva.train.objective import grpo
from viva.train.recipe import FILE
from viva.train.run import run
from viva.train.step import update
from viva.train.vitals import PACKAGE, Health, Vitals

from .playing import policy_job, policy_recipe
from .preferring import base
from .runs import recipe, stop_after


def records(**series):
    """Records of which each metric is a list, or the same in all of as many as the longest list has."""
    length = max((len(values) for values in series.values() if isinstance(values, list)), default=60)
    lists = {name: values if isinstance(values, list) else [values] * length for name, values in series.items()}
    return [{"step": i + 1} | {name: values[i] for name, values in lists.items()} for i in range(length)]


def told(name, **series):
    """The trouble of this name in such records, and the step it is told at."""
    vitals = Vitals(Health(), [name], records(**series))
    assert vitals.verdict(name) == "none" or name in vitals.troubles
    return (vitals.troubles[name].step, vitals.troubles[name].sentence) if name in vitals.troubles else None


UNSOLVED = {"lowest_reward": 0.0, "highest_reward": 1.0, "reward": 0.5}
SICK = {
    "loss_stuck": (100, "3.997 over the last 50 steps, 4 over the first", {"loss": [4.0] * 50 + [3.997] * 50}),
    "loss_spike": (52, "leaps to 4.6 from 3.002, the mean of the 50", {"loss": [2.9, 3.1] * 25 + [3.0, 4.6, 3.0]}),
    "loss_blow_up": (8, "risen to 6.1 over the last 5 steps", {"loss": [2.0, 9.0, 9.0] + [6.1] * 5}),
    "gradient_growth": (14, "is 10.1 over the last 10 steps", {"norm": [1.0, 2.0, 3.0, 4.0] + [10.1] * 10}),
    "chance_accuracy": (50, "51.0% of those trained on", {"accuracy": [1.0] * 30 + [0.51] * 20, "margin": 0.01}),
    "displacement": (
        20,
        "from -100 to -126 nats",
        {"chosen_log_prob": [-100.0] * 10 + [-126.0] * 10, "margin": [0.0] * 10 + [1.0] * 10},
    ),
    "reward_stuck": (10, "fallen to 0.59 from 0.8", {"reward": [0.8] * 5 + [0.59] * 5, "reward_error": 0.08}),
    "reward_hacking": (
        10,
        "reward rose from 0.1 to 0.9 while the truth fell from 0.8 to 0.6",
        {"reward": [0.1] * 5 + [0.9] * 5, "truth": [0.8] * 5 + [0.6] * 5, "truth_error": 0.1},
    ),
    "equal_groups": (5, "to 91% of the prompts", {"equal_groups": [0.91] * 5} | UNSOLVED),
    "entropy_collapse": (6, "to 0.09 nats a token, below 10% of the 1", {"entropy": [1.0] + [0.09] * 5} | UNSOLVED),
    "kl_blow_up": (5, "is 1.01 nats a token", {"kl": [1.01] * 5}),
    "kl_collapse": (30, "is 9e-06 nats a token after 30 rounds", {"kl": [9e-6] * 30}),
    "clipping": (5, "31% of the tokens", {"clip_fraction": [0.31] * 5}),
    "useless_critic": (30, "explains 0.00 of the returns'", {"explained_variance": [0.0] * 30} | UNSOLVED),
    "reply_growth": (10, "to 42 tokens from 20", {"length": [20.0] * 5 + [42.0] * 5}),
    "cut_replies": (5, "51% of the replies are cut", {"ended": [0.49] * 5}),
    "sampler_gap": (5, "by 0.51 nats", {"sampler_gap": [0.51] * 5}),
}
WELL = {
    "loss_stuck": {"loss": [4.0] * 50 + [3.99] * 50},
    "loss_spike": {"loss": [2.9, 3.1] * 25 + [3.0, 4.4, 3.0]},
    "loss_blow_up": {"loss": [2.0, 9.0, 9.0] + [5.9] * 9},
    "gradient_growth": {"norm": [1.0, 2.0, 3.0, 4.0] + [9.9] * 10},
    "chance_accuracy": {"accuracy": [0.0] * 30 + [0.53] * 30, "margin": 0.01},
    "displacement": {"chosen_log_prob": [-100.0] * 10 + [-124.0] * 10, "margin": [0.0] * 10 + [1.0] * 10},
    "reward_stuck": {"reward": [0.8] * 5 + [0.61] * 5, "reward_error": 0.08},
    "reward_hacking": {"reward": [0.1] * 5 + [0.9] * 5, "truth": [0.8] * 5 + [0.62] * 5, "truth_error": 0.1},
    "equal_groups": {"equal_groups": 0.89} | UNSOLVED,
    "entropy_collapse": {"entropy": [1.0] + [0.11] * 9} | UNSOLVED,
    "kl_blow_up": {"kl": 0.99},
    "kl_collapse": {"kl": [-2e-5] * 30},
    "clipping": {"clip_fraction": 0.29},
    "useless_critic": {"explained_variance": 0.01} | UNSOLVED,
    "reply_growth": {"length": [20.0] * 5 + [39.0] * 5},
    "cut_replies": {"ended": 0.51},
    "sampler_gap": {"sampler_gap": 0.49},
}


@pytest.mark.parametrize("name", names(PACKAGE))
def test_each_threshold_from_both_sides(name):
    step, said, series = SICK[name]
    found = told(name, **series)
    assert found is not None and found[0] == step and said in found[1]
    assert told(name, **WELL[name]) is None


@pytest.mark.parametrize("name", ["equal_groups", "entropy_collapse", "useless_critic"])
def test_a_task_that_is_solved_is_no_trouble(name):
    _, _, series = SICK[name]
    assert told(name, **series | {"reward": 0.96}) is None and told(name, **series | {"reward": 0.94}) is not None


def test_a_truth_that_falls_with_the_reward_is_no_hacking():
    series = SICK["reward_hacking"][2]
    assert told("reward_hacking", **series | {"reward": [0.9] * 5 + [0.1] * 5}) is None


def test_a_truth_that_rose_before_it_fell():
    rewards, truths = [0.1 + 0.1 * (i // 5) for i in range(20)], [0.2] * 5 + [0.8] * 10 + [0.3] * 5
    step, said = told("reward_hacking", reward=rewards, truth=truths, truth_error=0.05)
    assert step == 20 and "the reward rose from 0.2 to 0.4 while the truth fell from 0.8 to 0.3" in said


def test_held_out_truth_is_judged_evaluation_by_evaluation():
    held_out = {"valid_reward": [0.2, 0.3], "valid_truth": [0.8, 0.4], "valid_truth_error": [0.08, 0.1]}
    seen = records(reward=0.1, truth=0.8, truth_error=[0.1] * 12)
    for evaluation, step in enumerate((6, 12)):
        seen[step - 1] |= {name: values[evaluation] for name, values in held_out.items()}
    [trouble] = Vitals(Health(), ["reward_hacking"], seen).troubles.values()
    error = math.hypot(0.08, 0.1)
    assert trouble.step == 12 and "on held-out prompts the reward rose from 0.2 to 0.3" in trouble.sentence
    assert f"standard errors of {error:.2g}" in trouble.sentence


def test_rounds_of_a_few_prompts_err_by_how_they_differ():
    """One round of 1 among zeros: its mean, 0.2, is one of its standard errors away from 0, however sure each is."""
    assert told("reward_stuck", reward=[0.0, 1.0, 0.0, 0.0, 0.0] + [0.0] * 5, reward_error=0.0) is None


def test_a_reward_that_never_rises():
    unsolved = {"reward_error": 0.1, "lowest_reward": 0.0, "highest_reward": 1.0}
    step, said = told("reward_stuck", reward=[0.4] * 110, **unsolved)
    assert step == 100 and "the reward does not rise: 0.4 after 100 rounds, 0.4 at the start" in said
    assert told("reward_stuck", reward=[0.97] * 110, **unsolved) is None


def test_held_out_pairs_at_chance():
    seen = records(accuracy=[0.9] * 60, margin=0.5)
    seen[54] |= {"valid_accuracy": 0.5, "valid_margin": -0.01}
    [trouble] = Vitals(Health(), ["chance_accuracy"], seen).troubles.values()
    assert "50.0% of those held out are told right after 55 steps, with a margin of -0.01" in trouble.sentence


def test_an_evaluation_is_judged_at_its_own_step():
    """One before step 50 is not, nor is it as step 50 comes: by then the model is another."""
    seen = records(accuracy=[0.9] * 90, margin=0.5)
    seen[9] |= {"valid_accuracy": 0.48, "valid_margin": 0.0}
    seen[59] |= {"valid_accuracy": 0.75, "valid_margin": 0.4}
    assert Vitals(Health(), ["chance_accuracy"], seen).closing() == ["no trouble seen of chance_accuracy"]
    seen[79] |= {"valid_accuracy": 0.5, "valid_margin": -0.1}
    [trouble] = Vitals(Health(), ["chance_accuracy"], seen).troubles.values()
    assert trouble.step == 80 and "after 80 steps, with a margin of -0.1" in trouble.sentence


def test_what_skipped_updates_did_not_measure_is_left_out():
    skipped = {"step": 2, "loss": 0.0, "norm": 0.0, "reward": 0.5, "skipped": "nothing to learn in this step"}
    history = History([{"step": 1, "loss": 1.0, "norm": 2.0, "reward": 0.0}, skipped])
    assert (history["loss"], history["norm"], history["reward"]) == ([1.0], [2.0], [0.0, 0.5])


def test_every_objective_names_troubles_that_there_are():
    objectives = [variant("viva.train.objective", name).Config for name in names("viva.train.objective")]
    named = {trouble for objective in objectives for trouble in objective.troubles}
    assert named == set(names(PACKAGE)) and all(objective.troubles for objective in objectives)


def test_what_is_healthy_is_said_of_what_is_measured():
    vitals = Vitals(Health(), ["clipping", "kl_blow_up", "loss_stuck"], records(clip_fraction=[0.1], loss=[1.0]))
    assert vitals.healthy() == (
        "healthy would be: at most 30% of tokens clipped, "
        "the loss 0.1% lower over the last 50 steps than over the first"
    )
    assert vitals.closing() == ["too short to tell: clipping, loss_stuck"]
    assert vitals.verdict("kl_blow_up") == "not measured"
    assert Vitals(Health(), ["clipping"], records(clip_fraction=0.1)).closing() == ["no trouble seen of clipping"]


def test_a_trouble_is_said_once_and_at_the_end():
    vitals = Vitals(Health(), ["kl_blow_up", "cut_replies"])
    said = [str(trouble) for record in records(kl=2.0, ended=[1.0] * 9) for trouble in vitals.see(record)]
    assert len(said) == 1 and said == vitals.closing()
    assert said[0].startswith("trouble at step 5 (kl_blow_up): the divergence from the reference is 2 nats a token")
    assert Vitals(Health(kl_blow_up={"most": 3.0}), ["kl_blow_up"], records(kl=2.0)).troubles == {}


def test_a_run_names_its_trouble_and_goes_on_or_stops(tmp_path, capsys):
    """A policy of random weights never ends its replies."""
    objective = {"kind": "grpo", "rollout": {"replies": 4, "max_new_tokens": 3}}
    done = run(policy_recipe(tmp_path, objective, **{"train.steps": 7}))
    said = capsys.readouterr().err
    assert done.finished and not done.halted and "cut_replies" in [trouble.name for trouble in done.troubles]
    assert said.count("healthy would be: the gradient's norm at most 10 times the first") == 1
    assert said.count("trouble at step 5 (cut_replies)") == 2 and "too short to tell: gradient_growth" in said
    stopping = {"train.steps": 7, "train.health.stop": True, "train.health.cut_replies.window": 2}
    done = run(policy_recipe(tmp_path, objective, "stopping", **stopping))
    said = capsys.readouterr().err
    assert (done.finished, done.halted, done.metrics["step"]) == (False, True, 2)
    assert "stopped by trouble, as train.health.stop asks, after step 2" in said
    done = run(policy_recipe(tmp_path, objective, "stopping", **stopping | {"train.health.equal_groups.most": 0.95}))
    said = capsys.readouterr().err
    assert done.finished and said.count("trouble at step 2 (cut_replies)") == 1  # which stopped it before, and is over
    assert "healthy would be: the gradient's norm" in said


def test_a_run_that_trouble_ended_has_an_exit_code(tmp_path):
    given = policy_recipe(tmp_path, {"kind": "raft"}, **{"train.health.stop": True, "train.steps": 7})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(given.resolved()), encoding="utf-8")
    assert main(["train", str(tmp_path / "r.yaml")]) == 1


def test_a_resumed_run_knows_what_it_was_in_trouble_by(tmp_path, monkeypatch):
    objective = {"kind": "raft", "rollout": {"replies": 2, "max_new_tokens": 2}}
    straight = run(policy_recipe(tmp_path, objective, "straight", **{"train.steps": 8}))
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        run(policy_recipe(tmp_path, objective, "parts", **{"train.steps": 8}))
    assert run(policy_recipe(tmp_path, objective, "parts", **{"train.steps": 8})).troubles == straight.troubles != ()


def test_the_truth_is_measured_and_not_learned(tmp_path):
    held_out = {"kind": "files", "path": str(tmp_path / "asked.jsonl")}
    truth = {"truth": {"kind": "length", "target": 9, "slope": 1.0}}
    plain, state = policy_job(tmp_path, {"kind": "grpo"}, held_out=held_out)
    judged, _ = policy_job(tmp_path, {"kind": "grpo"} | truth, "judged", held_out=held_out)
    found = judged.data.round(0)
    assert found.truths.tolist() == [
        [-abs(len(reply.ids) - 9.0) for reply in found.replies[at : at + 4]] for at in range(0, 16, 4)
    ]
    record, without = update(judged, state), update(plain, type(state)())
    of_prompts = found.truths.mean(1)
    assert record["truth"] == pytest.approx(found.truths.mean().item())
    assert record["truth_error"] == pytest.approx(of_prompts.std().item() / 2)
    assert {name for name in record if name not in without} == {"truth", "truth_error"}
    for name, value in judged.model.state_dict().items():
        assert torch.equal(value, plain.model.state_dict()[name])
    assert {"valid_truth", "valid_truth_error"} <= set(evaluate(judged))


def test_the_standard_error_by_hand():
    """Of prompts' means 0.5 and 1: their deviation is 0.3536, over the root of 2."""
    assert _mean("truth", torch.tensor([[0.0, 1.0], [1.0, 1.0]])) == {"truth": 0.75, "truth_error": pytest.approx(0.25)}
    assert _mean("truth", torch.tensor([[0.0, 1.0]])) == {"truth": 0.5, "truth_error": pytest.approx(0.5)}
    assert _mean("truth", torch.tensor([[1.0]])) == {"truth": 1.0}


def test_the_truth_must_be_another_judge():
    with pytest.raises(ValidationError, match="truth must be another judge than reward"):
        grpo.Config(reward="interpreter", truth="interpreter")


def test_the_verb_reads_a_finished_run(tmp_path, capsys):
    given = recipe(tmp_path, base(tmp_path) | {"train.steps": 3})
    run(given)
    capsys.readouterr()
    assert verb(given.out) == 0
    out = capsys.readouterr().out
    assert (
        "too short to tell: loss_stuck, loss_spike, loss_blow_up, gradient_growth, chance_accuracy, displacement" in out
    )
    assert "not judged before 100 steps" in out and "at step 3" in out
    assert verb(given.out, "train.health.gradient_growth.window=1", "train.health.loss_blow_up.least=0") == 0
    assert "too short to tell: loss_stuck, loss_spike, loss_blow_up, gradient_growth" in capsys.readouterr().out
    for step in range(4, 20):
        metrics.append(tmp_path / "run", {"step": step, "loss": 9.0, "norm": 1.0})
    assert verb(given.out) == 1
    assert "trouble at step 8 (loss_blow_up): the loss has risen to 9 over the last 5 steps" in capsys.readouterr().out


def test_the_verb_needs_a_run(tmp_path):
    with pytest.raises(Refusal, match="a recipe must be an existing file"):
        verb(str(tmp_path))
    (tmp_path / FILE).write_text(
        "out: x\nmodel: {kind: llama, width: 8, layers: 1, heads: 1}\ndata: {kind: files, path: x}\ntrain: {steps: 1}\n"
    )
    with pytest.raises(Refusal, match="must hold the metrics of a run, but found no step"):
        verb(str(tmp_path))
