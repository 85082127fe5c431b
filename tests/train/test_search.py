"""Searches of settings: what is drawn beside Optuna's own, pruning, kills, and every refusal."""

import json
import math
import shutil
from pathlib import Path

import optuna
import pytest
import yaml

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.cli import main
from viva.train import metrics
from viva.train.search import search as module
from viva.train.search.plan import Plan, Range
from viva.train.search.search import GIVEN_UP, JOURNAL, RESULTS, search

from .runs import recipe


@pytest.fixture
def tree(tmp_path):
    """A recipe of two steps, as a file says it."""
    found = recipe(tmp_path, {"train.steps": 2}).resolved()
    return {name: value for name, value in found.items() if name != "out" and value is not None}


def plan(space, **more):
    return parse(Plan, {"space": space, "trials": 3, **more})


def pretend(monkeypatch, loss, steps=4, stop=None):
    """In place of a run, records of `steps` steps whose held-out loss is loss(recipe, step)."""

    def run(given, watch):
        from types import SimpleNamespace

        out = Path(given.out)
        out.mkdir(parents=True, exist_ok=True)
        metrics.rewind(out, 0)
        for step in range(1, steps + 1):
            if stop is not None and stop(given, step):
                return SimpleNamespace(finished=False, halted=False)
            record = {"step": step, "valid_loss": loss(given, step)}
            metrics.append(out, record)
            if watch(record):
                return SimpleNamespace(finished=step == steps, halted=False)
        return SimpleNamespace(finished=True, halted=False)

    monkeypatch.setattr(module, "run", run)


def test_whole_runs_are_made_and_ranked(tmp_path, tree, capsys):
    """Every combination of a grid once, each a run in its own folder; the table says what the records say."""
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tree | {"out": "unused"}), encoding="utf-8")
    words = ["search", str(tmp_path / "r.yaml"), "train.lr~[1e-2]", "train.schedule~[constant, {kind: linear}]"]
    assert main([*words, "train.batch=4", "--sampler", "grid", "--out", str(tmp_path / "s")]) == 0
    said = json.loads((tmp_path / "s" / RESULTS).read_text())
    settings = {(each["settings"]["train.lr"], str(each["settings"]["train.schedule"])) for each in said}
    assert settings == {(lr, s) for lr in ("1e-2",) for s in ("constant", "{'kind': 'linear'}")}
    for each in said:
        best = min(
            record["valid_loss"]
            for record in metrics.read(tmp_path / "s" / "trials" / f"{each['number']:04}")
            if "valid_loss" in record
        )
        assert each["value"] == best and each["outcome"] == "done"
        made = yaml.safe_load((tmp_path / "s" / "trials" / f"{each['number']:04}" / "recipe.yaml").read_text())
        assert made["train"]["lr"] == float(each["settings"]["train.lr"]) and made["train"]["batch"] == 4
    assert [each["value"] for each in said] == sorted(each["value"] for each in said)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == f"the best: {said[0]['folder']}"
    assert f"| {said[0]['number']}     | {said[0]['value']:.4f}" in shown


def test_tpe_finds_the_valley(tmp_path, tree, monkeypatch):
    """Of a loss (log10 lr + 3)^2 the least is at 1e-3; 20 Bayesian trials come nearer than 0.1 decades."""
    pretend(monkeypatch, lambda given, step: (math.log10(given.train.lr) + 3) ** 2)
    asked = plan({"train.lr": {"low": 1e-6, "high": 1.0, "log": True}}, trials=20)
    found = search(tree, {}, asked, tmp_path / "s")
    assert len(found) == 20 and abs(math.log10(found[0].settings["train.lr"]) + 3) < 0.1
    assert all(1e-6 <= each.settings["train.lr"] <= 1 for each in found)


def test_the_best_is_the_least_or_the_most(tmp_path, tree, monkeypatch):
    """A run's best record counts, not its last."""
    pretend(monkeypatch, lambda given, step: given.train.batch * [3, 1, 2, 5][step - 1])
    least = search(tree, {}, plan({"train.batch": [2, 4, 8]}, sampler="grid"), tmp_path / "a")
    assert [(t.value, t.step) for t in least] == [(2, 2), (4, 2), (8, 2)]
    most = search(tree, {}, plan({"train.batch": [2, 4, 8]}, sampler="grid", goal="max"), tmp_path / "b")
    assert [(t.value, t.step) for t in most] == [(40, 4), (20, 4), (10, 4)]


@pytest.mark.parametrize("pruner", [{"kind": "median", "startup": 2}, {"kind": "halving", "factor": 2}])
def test_hopeless_trials_are_given_up(tmp_path, tree, monkeypatch, pruner):
    """The same trials are given up, after as many steps, as by Optuna's own loop over the same losses."""
    loss = lambda given, step: given["train.lr"] * 10 + 1 / step  # noqa: E731
    pretend(monkeypatch, lambda given, step: loss({"train.lr": given.train.lr}, step), steps=8)
    space = {"train.lr": [0.1, 0.5, 0.2, 0.9, 0.01, 0.7]}
    asked = plan(space, sampler="grid", trials=6, pruner=pruner)
    found = search(tree, {"train.eval_every": 1}, asked, tmp_path / "s")
    theirs = optuna.create_study(sampler=asked.sampler.build(asked, 0), pruner=asked.pruner.build())

    def objective(trial):
        lr = json.loads(trial.suggest_categorical("train.lr", [json.dumps(value) for value in space["train.lr"]]))
        for step in range(1, 9):
            trial.report(loss({"train.lr": lr}, step), step)
            if trial.should_prune():
                if step == 8:
                    return lr  # came to its end all the same
                raise optuna.TrialPruned
        return lr

    theirs.optimize(objective, n_trials=6)
    pruned = {t.number: max(t.intermediate_values) for t in theirs.trials if t.state.name == "PRUNED"}
    ours = {
        t.number: len(metrics.read(tmp_path / "s" / "trials" / f"{t.number:04}"))
        for t in found
        if t.outcome == GIVEN_UP
    }
    assert ours == pruned and pruned


@pytest.mark.parametrize("pruner", [{"kind": "median", "startup": 1}, {"kind": "halving", "least": 2, "factor": 2}])
def test_a_run_that_learns_nothing_is_given_up(tmp_path, tree, capsys, pruner):
    """Whole runs, measured every second of 6 steps: the second one hardly moves, and is given up where it is measured
    first. In Optuna's own history it is a pruned one, with what was reported of it.
    """
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tree | {"out": "unused"}), encoding="utf-8")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({"pruner": pruner, "sampler": "grid"}), encoding="utf-8")
    words = ["search", str(tmp_path / "r.yaml"), "train.lr~[1e-9, 1e-2]", "--plan", str(tmp_path / "plan.yaml")]
    given = ["train.steps=6", "train.eval_every=2", "--out", str(tmp_path / "s")]
    assert main([*words, *given]) == 0
    whole, hopeless = json.loads((tmp_path / "s" / RESULTS).read_text())
    assert (whole["number"], whole["outcome"], hopeless["number"], hopeless["outcome"]) == (0, "done", 1, "given up")
    measured = dict(_measured(hopeless["folder"]))
    assert measured == {2: hopeless["value"]} and hopeless["step"] == 2 and hopeless["why"] is None
    assert [step for step, _ in _measured(whole["folder"])] == [2, 4, 6]
    shown = capsys.readouterr().out
    assert f"trial 1, train.lr=1e-9: given up {hopeless['value']:.4f} at step 2\n" in shown
    assert shown.splitlines()[-1] == f"the best: {whole['folder']}"
    storage = optuna.storages.journal.JournalFileBackend(str(tmp_path / "s" / JOURNAL))
    kept = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(storage)).trials
    assert [each.state.name for each in kept] == ["COMPLETE", "PRUNED"]
    assert kept[1].intermediate_values == measured


def test_without_a_pruner_all_runs_come_to_their_end(tmp_path, tree):
    given = {"train.steps": 4, "train.eval_every": 2}
    found = search(tree, given, plan({"train.lr": ["1e-9", "1e-2"]}, sampler="grid", pruner="none"), tmp_path / "s")
    assert [t.outcome for t in found] == ["done", "done"]
    assert all([step for step, _ in _measured(t.folder)] == [2, 4] for t in found)


def _measured(folder):
    return [(record["step"], record["valid_loss"]) for record in metrics.read(Path(folder)) if "valid_loss" in record]


def test_a_killed_search_goes_on_as_if_it_was_not(tmp_path, tree, monkeypatch):
    """Killed inside a trial, with the journal's last line cut short: the same trials, with the same values."""
    loss = lambda given, step: (math.log10(given.train.lr) + 3) ** 2 + given.train.batch / 100 + 1 / step  # noqa: E731
    asked = plan({"train.lr": {"low": 1e-5, "high": 0.1, "log": True}, "train.batch": {"low": 2, "high": 64}}, trials=9)
    pretend(monkeypatch, loss)
    straight = search(tree, {}, asked, tmp_path / "straight")
    count = [0]

    def kill(given, step):
        count[0] += 1
        if count[0] in (7, 30):
            raise KeyboardInterrupt
        return False

    pretend(monkeypatch, loss, stop=kill)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            search(tree, {}, asked, tmp_path / "killed")
        (tmp_path / "killed" / f"{JOURNAL}.lock").touch()
        with open(tmp_path / "killed" / JOURNAL, "a") as journal:
            journal.write('{"op_code":6,"wor')
    resumed = search(tree, {}, asked, tmp_path / "killed")
    assert [(t.number, t.settings, t.value) for t in resumed] == [(t.number, t.settings, t.value) for t in straight]
    more = search(tree, {}, asked.model_copy(update={"trials": 10}), tmp_path / "killed")
    assert len(more) == 10 and len([t for t in more if t.number < 9]) == 9


def test_a_search_that_is_asked_to_stop_says_so(tmp_path, tree, monkeypatch, capsys):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tree | {"out": "unused"}), encoding="utf-8")
    pretend(monkeypatch, lambda given, step: 1.0, stop=lambda given, step: True)
    words = [
        "search",
        str(tmp_path / "r.yaml"),
        "train.batch~[2, 4]",
        "--sampler",
        "grid",
        "--out",
        str(tmp_path / "s"),
    ]
    assert main(words) == 0
    assert "stopped as asked, kept in" in capsys.readouterr().out


def test_a_trial_that_trouble_stopped_is_a_result(tmp_path, tree):
    given = {"train.steps": 16, "train.health.stop": True}
    found = search(tree, given, plan({"train.lr": [1e-3, 10.0]}, sampler="grid"), tmp_path / "s")
    assert [t.outcome for t in found] == ["done", "failed"]
    assert found[1].why.startswith("trouble at step 8 (loss_blow_up): the loss has risen to")


def test_a_trial_that_is_refused_is_a_result(tmp_path, tree, capsys):
    """A context longer than the model's is found only when the run begins."""
    found = search(tree, {}, plan({"train.context": [16, 64]}, sampler="grid"), tmp_path / "s")
    assert [t.outcome for t in found] == ["done", "failed"] and found[1].value is None
    assert found[1].why.startswith("train.context must be at most the model's 32, but found 64")


def test_a_trial_that_ends_in_an_error_is_a_result(tmp_path, tree, monkeypatch, capsys):
    """The next one is tried; where it came from is kept. A search of which all trials fail is no success."""

    def fail(given, step):
        if given.train.batch == 4:
            raise RuntimeError("CUDA out of memory")
        return False

    pretend(monkeypatch, lambda given, step: 1.0, stop=fail)
    found = search(tree, {}, plan({"train.batch": [4, 2]}, sampler="grid"), tmp_path / "s")
    assert {t.settings["train.batch"]: t.outcome for t in found} == {2: "done", 4: "failed"}
    assert found[1].why.startswith("RuntimeError: CUDA out of memory (more in ")
    assert 'raise RuntimeError("CUDA' in (Path(found[1].folder) / "error.txt").read_text()
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(tree | {"out": "unused"}), encoding="utf-8")
    words = ["search", str(tmp_path / "r.yaml"), "train.batch~[4]", "--sampler", "grid", "--out", str(tmp_path / "all")]
    assert main(words) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "no trial came to its end"


@pytest.mark.parametrize(("space", "more", "message"), [
    ({}, {}, "space: Dictionary should have at least 1 item"),
    ({"train.lr": {"low": 1e-2, "high": 1e-3}}, {}, "must have `low` below `high`, but 0.01 is not below 0.001"),
    ({"train.lr": {"low": "1e-2", "high": "1e-3"}}, {}, "space.train.lr: must have `low` below `high`, but 0.01"),
    ({"train.lr": {"high": 1.0}}, {}, "found space.train.lr.low: Field required. To"),
    ({"train.lr": 3}, {}, r"found space.train.lr: must be a list of values, or a range \{low, high\} \(given 3\)"),
    ({"train.lr": {"low": 0, "high": 1.0, "log": True}}, {}, "must have `low` above 0 to be logarithmic, but it is 0"),
    ({"train.lr": {"low": 1, "high": 2, "step": 3}}, {}, "must have a `step` of at most 1, but it is 3"),
    ({"train.lr": {"low": 0.1, "hihg": 1.0}}, {}, "unknown key 'hihg'"),
    ({"train.lr": []}, {}, r"must have values for train.lr, each once, but they are \[\]"),
    ({"train.lr": [0.1, 0.1]}, {}, "must have values for train.lr, each once"),
    ({"train.lr": [0.1]}, {"trials": None}, "must say how many `trials` there are to be, unless the sampler is grid"),
    ({"train.lr": [0.1]}, {"sampler": "gird"}, "sampler: must be a known kind; use 'grid'"),
])  # fmt: skip
def test_bad_plans_are_refused(space, more, message):
    with pytest.raises(Refusal, match=message):
        plan(space, **more)


@pytest.mark.parametrize(("space", "more", "message"), [
    ({"train.lrr": [0.1]}, {}, "unknown key 'lrr'; use 'lr'"),
    ({"train.lr": {"low": -1.0, "high": 1.0}}, {}, "train.lr: Input should be greater than 0"),
    ({"train.batch": {"low": 0.5, "high": 4.0}}, {}, "train.batch: Input should be a valid integer"),
    ({"train.optim": ["adamw", "sdg"]}, {}, "train.optim: must be a known kind; use 'sgd'"),
    ({"out": ["a", "b"]}, {}, "a search must leave `out` to its trials"),
    ({"train.lr": [0.1, 0.2]}, {"pruner": "median"}, "on the way to be given up early, but found no train.eval_every"),
    ({"train.lr": [0.001, "1e-3"]}, {}, "train.lr must differ to the recipe, but found 0.001 and 1e-3, which are"),
    ({"train.schedule": ["cosine", "linear", {"kind": "cosine"}]}, {}, "found cosine and {'kind': 'cosine'}, which"),
    ({"train.lr": {"low": 0.1, "high": 1.0}}, {"sampler": "grid"}, "ranges with a `step`, but found 0.1 to 1.0"),
])  # fmt: skip
def test_bad_searches_are_refused_before_the_first_trial(tmp_path, tree, space, more, message):
    with pytest.raises(Refusal, match=message):
        search(tree, {}, plan(space, **more), tmp_path / "s")
    assert not (tmp_path / "s" / "trials").exists()


def test_a_metric_that_is_not_recorded_is_refused(tmp_path, tree, monkeypatch):
    pretend(monkeypatch, lambda given, step: 1.0)
    with pytest.raises(Refusal, match=r"must be one that a run records, but found 'valid_acuracy'.*use 'valid_loss'"):
        search(tree, {}, plan({"train.lr": [0.1]}, metric="valid_acuracy"), tmp_path / "s")


@pytest.mark.parametrize(("metric", "near"), [("losss", "'loss'"), ("valid_los", "'valid_loss'")])
def test_a_metric_that_is_not_recorded_is_refused_after_a_step(tmp_path, tree, metric, near):
    """Of a run that would take 50; the folder is free for a search by another metric."""
    given = {"train.steps": 50}
    with pytest.raises(
        Refusal, match=rf"must be one that a run records, but found '{metric}'.*use {near} \(the nearest"
    ):
        search(tree, given, plan({"train.lr": [0.1]}, sampler="grid", metric=metric), tmp_path / "s")
    assert [record["step"] for record in metrics.read(tmp_path / "s" / "trials" / "0000")] == [1]
    [trial] = search(
        tree, {"train.steps": 2}, plan({"train.lr": [0.01]}, sampler="grid", metric="loss"), tmp_path / "s"
    )
    assert trial.outcome == "done"


def test_a_metric_of_held_out_rows_alone_is_waited_for(tmp_path, tree):
    asked = plan({"train.lr": [0.1]}, sampler="grid", metric="valid_bits_per_byte")
    [trial] = search(tree, {}, asked, tmp_path / "s")
    assert (trial.outcome, trial.step) == ("done", 2) and trial.value > 0


def test_another_search_needs_another_folder(tmp_path, tree, monkeypatch):
    pretend(monkeypatch, lambda given, step: 1.0)
    search(tree, {}, plan({"train.batch": [2, 4]}, sampler="grid"), tmp_path / "s")
    with pytest.raises(Refusal, match=r"must be the one that .*s was begun with, but found plan.space.train.batch"):
        search(tree, {}, plan({"train.batch": [2, 8]}, sampler="grid"), tmp_path / "s")


def test_a_setting_is_searched_or_set(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("out: x\n", encoding="utf-8")
    words = ["search", str(tmp_path / "r.yaml"), "--trials", "2", "--out", str(tmp_path / "s")]
    assert main([*words, "train.lr~[1, 2]", "train.lr=3"]) == 2
    assert "a setting must be searched or set, not both, but found train.lr" in capsys.readouterr().err
    assert main([*words, "train.lr~3"]) == 2
    assert "what train.lr is searched among must be a list or a range, but found '3'" in capsys.readouterr().err


def test_all_values_of_a_range():
    assert Range(low=2, high=8, step=3).all() == [2, 5, 8]
    assert Range(low=1, high=4).all() == [1, 2, 3, 4]
    assert Range(low=0.1, high=0.3, step=0.1).all() == pytest.approx([0.1, 0.2, 0.3])


def test_without_optuna_it_is_said_what_to_install(tmp_path, tree, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(Refusal, match=r"must have Optuna, but found it is not installed.*pip install 'viva\[search\]'"):
        search(tree, {}, plan({"train.batch": [2, 4]}), tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
