"""One trial after another: settings are chosen, a run is made with them, and what it came to is written down.

A trial is an ordinary run in a folder of its own, so a search that was killed goes on with the trial it was in, from
that run's newest checkpoint. What is known of trials stands in a journal of JSON lines, never in a pickle.
"""

import json
import os
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from viva.base.config import parse, read_yaml
from viva.base.errors import Refusal, nearest
from viva.base.files import sole_user, write_text
from viva.base.seed import derive
from viva.train import metrics
from viva.train.recipe import Recipe, leaves
from viva.train.run import run
from viva.train.search import optuna
from viva.train.search.plan import Plan

JOURNAL, PLAN, RESULTS = "journal.jsonl", "search.yaml", "results.json"
ERROR = "error.txt"  # in the folder of a trial, where it came from
HELD_OUT, EVALUATED = "valid_", ("loss", "bits_per_byte")  # what is measured of held-out rows, whatever the objective
OF_STEPS = ("step", "seconds", "lr", "norm", "tokens")  # what is none of held-out rows
DONE, GIVEN_UP, FAILED = "done", "given up", "failed"


@dataclass(frozen=True)
class Trial:
    """What came of a trial: its `value` and the `step` it was reached at, None of one that failed, which `why` says."""

    number: int
    outcome: str
    value: float | None
    step: int | None
    settings: dict[str, Any]
    folder: str
    why: str | None = None


class Unrecorded(Refusal):
    """The metric of a search is none that its runs record."""

    def __init__(self, metric: str, known: list[str]):
        must = "the metric of a search must be one that a run records"
        super().__init__(must, repr(metric), nearest(metric, sorted(set(known))))


def search(
    tree: dict[str, Any],
    given: dict[str, Any],
    plan: Plan,
    out: Path,
    name: str = "the recipe",
    tell: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial] | None:
    """All trials of a recipe, a `tree` with what is `given` in place of some leaves, the best first; `tell` is told
    each. None where it was asked to stop before.

    Refused: a leaf or value that the recipe does not take, a metric that runs do not record, the folder of another
    search.
    """
    given = {**given, "out": str(out)}
    plan.require(tree, given, name)
    base = parse(Recipe, tree, given, name=name)
    _require_measured(plan, base)
    with sole_user(out):
        _claim(plan, base, out)
        study = _study(plan, out)
        while len(finished(study, out)) < plan.count():
            trial = _next(study, plan, base.seed)
            try:
                if not _tried(tree, given, plan, trial, out):
                    return None
            except Unrecorded:
                if not finished(study, out):
                    (out / JOURNAL).unlink()  # with another metric the search may begin anew in this folder
                raise
            found = finished(study, out)
            write_text(out / RESULTS, json.dumps([asdict(each) for each in _ranked(found, plan)], indent=2))
            tell(max(found, key=lambda each: each.number))
    return _ranked(finished(study, out), plan)


def _require_measured(plan: Plan, base: Recipe) -> None:
    """Refuse a plan for a held-out value that is never measured, or only at the end, too late to give a trial up."""
    held_out = plan.metric.startswith(HELD_OUT)
    if held_out and not base.valid and base.held_out is None:
        raise Refusal(
            f"{plan.metric} must be measured", "no held-out rows", "set `valid` to for example 0.1, or `held_out`"
        )
    if held_out and plan.pruner.build() is not None and base.train.eval_every is None:
        fix = "set train.eval_every, or leave the pruner out"
        raise Refusal("trials must be measured on the way to be given up early", "no train.eval_every", fix)


def _claim(plan: Plan, base: Recipe, out: Path) -> None:
    """Write down what is searched; refused where the folder is another search's. The number of trials may grow."""
    said = {"plan": plan.model_dump(mode="json", exclude={"trials"}), "recipe": base.resolved()}
    if (out / PLAN).is_file() and (out / JOURNAL).is_file():
        before, now = dict(leaves(read_yaml(out / PLAN))), dict(leaves(json.loads(json.dumps(said))))
        if differing := [key for key in {**before, **now} if before.get(key) != now.get(key) and key != "recipe.out"]:
            shown = ", ".join(f"{key}={now.get(key)!r} (there: {before.get(key)!r})" for key in differing)
            fix = "give the same recipe and space to go on with it, or another --out to begin anew"
            raise Refusal(f"the search must be the one that {out} was begun with", shown, fix)
    write_text(out / PLAN, yaml.safe_dump(json.loads(json.dumps(said)), sort_keys=False, allow_unicode=True))


def _study(plan: Plan, out: Path) -> Any:
    """What is known of the trials so far."""
    library, file = optuna(), out / JOURNAL
    from optuna.storages import journal

    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)  # of a killed search; nobody else is in this folder
    _mend(file)
    storage = library.storages.JournalStorage(journal.JournalFileBackend(str(file)))
    direction = {"min": "minimize", "max": "maximize"}[plan.goal]
    pruner = plan.pruner.build() or library.pruners.NopPruner()
    return library.create_study(
        storage=storage, study_name="search", direction=direction, pruner=pruner, load_if_exists=True
    )


def _mend(journal: Path) -> None:
    """Take off a last line that a kill cut short."""
    if journal.is_file() and (held := journal.read_bytes()) and not held.endswith(b"\n"):
        os.truncate(journal, held.rfind(b"\n") + 1)


def _next(study: Any, plan: Plan, seed: int) -> Any:
    """The trial that was in progress, or a new one, whose settings are a function of the seed and the trials before."""
    library = optuna()
    begun = study.get_trials(deepcopy=False, states=[library.trial.TrialState.RUNNING])
    if begun:
        return library.trial.Trial(study, begun[0]._trial_id)
    number = len(study.get_trials(deepcopy=False))
    study.sampler = plan.sampler.build(plan, derive(seed, "search", number) % 2**32)
    return study.ask()


def _tried(tree: dict[str, Any], given: dict[str, Any], plan: Plan, trial: Any, out: Path) -> bool:
    """Make the run of a trial and write down what it came to; False where it was asked to stop before its end."""
    state, settings = optuna().trial.TrialState, plan.suggested(trial)
    folder = out / "trials" / f"{trial.number:04}"
    given_up = _hopeless(trial)  # by what was measured before a kill

    def watch(record: dict[str, Any]) -> bool:
        nonlocal given_up
        _require_recorded(plan, record)
        if plan.metric in record and record["step"] not in _reported(trial):
            trial.report(record[plan.metric], record["step"])
            given_up = _hopeless(trial)
        return given_up

    try:
        recipe = parse(Recipe, tree, {**given, **settings, "out": str(folder)}, name=f"trial {trial.number}")
        done = None if given_up else run(recipe, watch)
    except Unrecorded:
        raise
    except Refusal as refusal:
        return _failed(trial, str(refusal))
    except Exception as error:  # whatever it is, other settings may do
        write_text(folder / ERROR, traceback.format_exc())
        first = str(error).partition("\n")[0]
        return _failed(trial, f"{type(error).__name__}: {first} (more in {folder / ERROR})")
    if done is not None and done.halted:
        return _failed(trial, str(done.troubles[-1]))
    ended = done is not None and done.finished
    if not ended and not given_up:
        return False
    value, step = _best(plan, folder)
    trial.set_user_attr("step", step)
    trial.set_user_attr("value", value)
    if ended:
        trial.study.tell(trial.number, value)
    else:
        trial.study.tell(trial.number, state=state.PRUNED)
    return True


def _require_recorded(plan: Plan, record: dict[str, Any]) -> None:
    """Refuse a metric that the first record of a run shows to be none: what is measured of a step is measured of what
    is held out too. A round of replies that taught nothing shows less.
    """
    names = _numbers(record)
    is_measured = any(name.startswith(HELD_OUT) for name in names)
    more = (
        [] if is_measured else [HELD_OUT + name for name in dict.fromkeys((*names, *EVALUATED)) if name not in OF_STEPS]
    )
    if plan.metric not in (*names, *more) and "skipped" not in record:
        raise Unrecorded(plan.metric, [*names, *more])


def _numbers(record: dict[str, Any]) -> list[str]:
    """The names of what a record measures."""
    return [name for name, held in record.items() if isinstance(held, int | float)]


def _hopeless(trial: Any) -> bool:
    """Whether the pruner gives a trial up; Optuna's median says so by a NumPy bool, which is no bool to Python."""
    return bool(trial.should_prune())


def _failed(trial: Any, why: str) -> bool:
    """Write down that a trial failed; the search goes on."""
    trial.set_user_attr("why", why)
    trial.study.tell(trial.number, state=optuna().trial.TrialState.FAIL)
    return True


def _reported(trial: Any) -> set[int]:
    """Steps whose value is known: a run that is resumed takes some of them again."""
    return set(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)


def _best(plan: Plan, folder: Path) -> tuple[float, int]:
    """The best value among a run's records, with its step."""
    records = metrics.read(folder)
    values = [(record[plan.metric], record["step"]) for record in records if plan.metric in record]
    if not values:
        raise Unrecorded(plan.metric, [name for record in records for name in _numbers(record)])
    sign = 1 if plan.goal == "min" else -1
    return min(values, key=lambda pair: (sign * pair[0], pair[1]))


def finished(study: Any, out: Path) -> list[Trial]:
    """The trials that came to an end, in order."""
    state = optuna().trial.TrialState
    names = {state.COMPLETE: DONE, state.PRUNED: GIVEN_UP, state.FAIL: FAILED}
    return [_told(each, names[each.state], out) for each in study.get_trials(deepcopy=False) if each.state in names]


def _told(each: Any, outcome: str, out: Path) -> Trial:
    texts = {path for path, d in each.distributions.items() if hasattr(d, "choices")}
    settings = {path: json.loads(held) if path in texts else held for path, held in each.params.items()}
    said = each.user_attrs
    folder = str(out / "trials" / f"{each.number:04}")
    return Trial(each.number, outcome, said.get("value"), said.get("step"), settings, folder, said.get("why"))


def _ranked(trials: list[Trial], plan: Plan) -> list[Trial]:
    """The best first: those that came to their end, then those given up, then those that failed."""
    order, sign = [DONE, GIVEN_UP, FAILED], 1 if plan.goal == "min" else -1
    return sorted(trials, key=lambda t: (order.index(t.outcome), sign * (t.value or 0.0), t.number))
