"""Saves checkpoints of a tiny run, one after another, until it is killed: `python saving.py FOLDER`.

It prints a line before the first save. Each step's weights are filled with the step's number, so that a checkpoint
that mixes two of them shows it.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from train.runs import job


def fill(work, step: int) -> None:
    """Give every weight, and all that the optimizer remembers, the value `step`."""
    with torch.no_grad():
        for parameter in work.model.parameters():
            parameter.fill_(step)
        for memory in work.optimizer.state.values():
            for tensor in memory.values():
                tensor.fill_(step)


def main(folder: Path) -> None:
    from viva.train.step import update

    work, state = job(folder)
    if not state.step:
        update(work, state)  # so that the optimizer has something to remember
    print("saving", flush=True)
    for step in range(state.step, state.step + 100_000):
        fill(work, step)
        state.step = step
        work.save(state)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
