"""What virtual tokens teach a frozen model: the held-out loss of its answers to questions about Python expressions, as
it is and with each kind after as many steps, LoRA beside them.

    viva quickstart
    python benchmarks/virtual_tokens.py runs/quickstart/base [--steps 200]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

import viva
from viva.base.config import parse, read_yaml
from viva.model import adapt, adapter
from viva.train import start
from viva.train.evaluation import evaluate
from viva.train.recipe import Recipe
from viva.train.run import assembled

RECIPE = Path(__file__).parents[1] / "recipes" / "prompt-tasks.yaml"
KINDS = {  # adapter, rate
    "prompt": ({"kind": "prompt"}, 0.05),
    "p_tuning, lstm": ({"kind": "p_tuning"}, 0.003),
    "p_tuning, mlp": ({"kind": "p_tuning", "encoder": "mlp"}, 0.003),
    "prefix": ({"kind": "prefix"}, 0.05),
    "prefix, hidden 128": ({"kind": "prefix", "hidden": 128}, 0.003),
    "lora, rank 8, q and v": ({"kind": "lora"}, 0.003),
}


def changes(base: Path, steps: int, out: Path, kind: str) -> dict[str, Any]:
    """Of the recipe."""
    config, lr = KINDS[kind]
    data = {"data.count": 4000, "valid": 0.05, "train.context": 256}
    train = {"train.minutes": None, "train.steps": steps, "train.lr": lr}
    return {"out": str(out), "init": str(base), "adapter": config, **data, **train}


def before(given: dict[str, Any]) -> float:
    """The loss of the base on what the runs hold out."""
    recipe = parse(Recipe, read_yaml(RECIPE), given)
    out = Path(recipe.out)
    job, _ = assembled(recipe, out, start.parts(recipe, out))
    with adapt.without(job.model):
        return evaluate(job)["valid_loss"]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("base", type=Path)
    asked.add_argument("--steps", type=int, default=200)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as place:
        loss = before(changes(given.base, given.steps, Path(place) / "base", "prompt"))
        print(f"| the base as it is | 0 | {loss:.3f} |", flush=True)
        for kind in KINDS:
            done = viva.train(RECIPE, changes(given.base, given.steps, Path(place) / kind, kind))
            trained = sum(tensor.numel() for tensor in load_file(done.checkpoint / adapter.FILE).values())
            print(f"| {kind} | {trained:,} | {done.metrics['valid_loss']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
