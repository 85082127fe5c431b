"""`viva search`: settings of a recipe, tried one after another."""

from pathlib import Path
from typing import Any


def search(
    recipe: str,
    *settings: str,
    out: Path,
    plan: Path | None = None,
    trials: int | None = None,
    sampler: str | None = None,
    pruner: str | None = None,
    metric: str | None = None,
    goal: str | None = None,
) -> int | None:
    """Search the settings of a recipe for the best; each trial is a run of its own, in OUT/trials. The same command
    goes on from where a search was stopped or killed. Needs the extra `search`.

    Example: viva search recipes/classify.yaml 'train.lr~{low: 1e-5, high: 1e-3, log: true}' 'train.batch~[16, 32]'
    train.epochs=1 --trials 20 --out runs/search

    Parameters
    ----------
    recipe
        a YAML file
    settings
        section.key~VALUES is searched, VALUES being a list or {low: , high: , log: , step: }; section.key=value is
        set for all trials
    out
        the folder of the search
    plan
        a YAML file with what is searched: `space` and any of the fields below
    trials
        how many; of a grid all unless told
    sampler
        grid, random or tpe (Bayesian), the default
    pruner
        none, the default, median or halving: which trials are given up early
    metric
        what is compared, a name in metrics.jsonl, by default valid_loss: its best in each run counts
    goal
        min, the default, or max
    """
    from viva.base.config import parse, read_yaml
    from viva.base.errors import Refusal
    from viva.train.recipe import Recipe
    from viva.train.search.plan import Plan
    from viva.train.search.search import search as searched

    said = {} if plan is None else read_yaml(plan)
    space = dict(said.get("space") or {})
    for path, values in (word.split("~", 1) for word in settings if _is_searched(word)):
        space[path] = _values(path, values)
    flags = {"trials": trials, "sampler": sampler, "pruner": pruner, "metric": metric, "goal": goal}
    said |= {"space": space} | {name: value for name, value in flags.items() if value is not None}
    asked = parse(Plan, said, name="what is searched")
    fixed = [word for word in settings if not _is_searched(word)]
    if twice := sorted(space.keys() & {word.partition("=")[0] for word in fixed}):
        raise Refusal("a setting must be searched or set, not both", ", ".join(twice), "remove one of them")
    tree = read_yaml(recipe)
    parse(Recipe, tree, fixed, name=recipe)
    given = dict(word.split("=", 1) for word in fixed)
    found = searched(tree, given, asked, out, recipe, _tell)
    if found is None:
        print(f"stopped as asked, kept in {out}; the same command goes on from there")
        return None
    _show(found, asked.metric)
    return 0 if found[0].value is not None else 1


def _is_searched(word: str) -> bool:
    """Whether a word is section.key~VALUES; a ~ may stand in a value too."""
    return "~" in word.partition("=")[0]


def _values(path: str, text: str) -> Any:
    import yaml

    from viva.base.errors import Refusal

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list | dict):
        fix = f"write {path}~[1, 2] or {path}~{{low: 1, high: 2}}"
        raise Refusal(f"what {path} is searched among must be a list or a range", repr(text), fix)
    return found


def _tell(trial: Any) -> None:
    settings = " ".join(f"{path}={value}" for path, value in trial.settings.items())
    value = "" if trial.value is None else f" {trial.value:.4f} at step {trial.step}"
    why = f": {trial.why}" if trial.why else ""
    print(f"trial {trial.number}, {settings}: {trial.outcome}{value}{why}", flush=True)


def _show(found: list[Any], metric: str) -> None:
    from viva.cli.table import show

    paths = list(dict.fromkeys(path for trial in found for path in trial.settings))
    rows = [
        [
            str(trial.number),
            "" if trial.value is None else f"{trial.value:.4f}",
            *(str(trial.settings.get(path, "")) for path in paths),
            trial.outcome if trial.why is None else f"{trial.outcome}: {trial.why}",
        ]
        for trial in found
    ]
    show(["trial", metric, *paths, "outcome"], rows)
    print(f"the best: {found[0].folder}" if found[0].value is not None else "no trial came to its end")
