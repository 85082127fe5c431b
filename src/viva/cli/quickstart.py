"""`viva quickstart`: the main job."""

from pathlib import Path

from viva.base.errors import Refusal


def quickstart(*, minutes: float = 5.0, fast: bool = False, out: Path = Path("runs/quickstart")) -> None:
    """Train a tokenizer, pretrain a model, tune it on verified tasks, align it, measure it, and say how to talk to it.

    Everything is made on this machine from Python's own text; nothing is downloaded.

    Example: viva quickstart --minutes 20

    Parameters
    ----------
    minutes
        the compute to spend, on two CPU cores about what the clock shows
    fast
        everything once, in about a minute; the model is no good
    out
        the folder for the models, the report and what was logged; the last model is the folder itself
    """
    from viva.quickstart import run

    if not 0 < minutes < float("inf"):
        raise Refusal("--minutes must be a positive number", minutes, "leave it out for 5")
    run(minutes, fast, out)
