"""metrics.jsonl: one JSON object a step, appended as training goes, and the picture drawn from it."""

import json
import math
from pathlib import Path
from typing import Any

from viva.base.errors import Refusal
from viva.base.files import disk_space, whole_file, write_text

FILE, PLOT = "metrics.jsonl", "loss.png"


def append(run: Path, record: dict[str, Any]) -> None:
    """Add one line; it is on its way to the disk when this returns."""
    with disk_space(run / FILE), open(run / FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def read(run: Path) -> list[dict[str, Any]]:
    """The records, in order. A last line that a kill cut short is left out."""
    if not (run / FILE).is_file():
        return []
    whole, _, _ = (run / FILE).read_text(encoding="utf-8").rpartition("\n")
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        fix = "mend or delete that line; the checkpoints are intact without it"
        raise Refusal(f"each line of {run / FILE} must be a JSON object", error, fix) from None


def rewind(run: Path, step: int) -> None:
    """Forget what was recorded after `step`: a resumed run takes those steps again."""
    kept = [record for record in read(run) if record["step"] <= step]
    write_text(run / FILE, "".join(json.dumps(record) + "\n" for record in kept))


def draw(run: Path) -> None:
    """Draw loss.png: training loss a step with its running mean, and the held-out loss."""
    from matplotlib.figure import Figure  # takes a while to import

    records = read(run)
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    steps, losses = [r["step"] for r in records], [r["loss"] for r in records]
    axes.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=1, label="training, each step")
    axes.plot(steps, running_mean(losses), color="tab:blue", label="training, running mean")
    held_out = [(r["step"], r["valid_loss"]) for r in records if "valid_loss" in r]
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", color="tab:orange", markersize=3, label="held out")
    axes.set(xlabel="step", ylabel="loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend()
    with whole_file(run / PLOT) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def running_mean(values: list[float], memory: float = 0.95) -> list[float]:
    """An exponential mean in which the first values weigh as they should (Kingma & Ba 2015, section 3).

    >>> running_mean([1.0, 1.0, 4.0], memory=0.5)
    [1.0, 1.0, 2.7142857142857144]
    """
    means, total = [], 0.0
    for count, value in enumerate(values, start=1):
        total = memory * total + (1 - memory) * value
        means.append(total / (1 - math.pow(memory, count)))
    return means
