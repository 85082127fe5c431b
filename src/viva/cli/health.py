"""`viva health`: what a run's records say of its health."""

from pathlib import Path


def health(run: str, *overrides: str) -> int:
    """Read the metrics of a run, finished or not, and show each trouble it is watched for: what is healthy, what its
    metrics were last, and whether it came.

    Exit code 1 where there was trouble.

    Example: viva health runs/grpo-tasks

    Example: viva health runs/grpo-tasks train.health.kl_blow_up.most=2

    Parameters
    ----------
    run
        the folder of a run
    overrides
        section.key=value, in place of what the run's recipe says, for other thresholds
    """
    from viva.base.config import read
    from viva.base.errors import Refusal
    from viva.cli import table
    from viva.train import metrics
    from viva.train.recipe import FILE, Recipe
    from viva.train.vitals import Vitals

    recipe, records = read(Recipe, Path(run) / FILE, overrides), metrics.read(Path(run))
    if not records:
        raise Refusal(f"{run} must hold the metrics of a run", "no step", "give the `out` of a run that was begun")
    vitals = Vitals(recipe.train.health, recipe.objective.troubles, records)
    rows = [[name, sign.healthy, vitals.latest(name), vitals.verdict(name)] for name, sign in vitals.signs.items()]
    table.show(["trouble", "healthy is", f"at step {records[-1]['step']}", "came"], rows)
    print()
    print("\n".join(vitals.closing()))
    return 1 if vitals.troubles else 0
