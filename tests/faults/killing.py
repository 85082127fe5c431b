"""Kill -9 at random instants of a save, and look at what is left."""

import random
import subprocess
import sys
import time
from pathlib import Path

from safetensors.torch import load_file

from viva.train import checkpoint

SAVING = Path(__file__).with_name("saving.py")


def start(folder: Path) -> subprocess.Popen:
    """A process that saves one checkpoint after another, once it has begun to."""
    process = subprocess.Popen([sys.executable, SAVING, folder], stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "saving\n":
        raise RuntimeError(f"{SAVING} ended with {process.wait()} before it saved anything")
    return process


def kill_during_save(folder: Path, seed: int, most: float = 0.5) -> tuple[int | None, int]:
    """(step of the newest valid checkpoint, leftovers) after a kill at a random instant of at most `most` seconds."""
    process = start(folder)
    time.sleep(random.Random(seed).uniform(0, most))
    process.kill()
    process.wait()
    run = folder / "run"
    leftovers = len(list((run / "checkpoints").glob(".*")))
    path, _ = checkpoint.newest(run)
    return (None if path is None else whole(path)), leftovers


def whole(path: Path) -> int:
    """The step of a checkpoint, all of whose parts must be of that step."""
    step = checkpoint.facts(path)["state"]["step"]
    values = [tensor for file in path.glob("*.safetensors") for tensor in load_file(file).values()]
    if path != checkpoint.place(path.parents[1], step) or not all((tensor == step).all() for tensor in values):
        raise AssertionError(f"{path} mixes steps")
    return step
