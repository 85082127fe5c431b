"""viva's training step, as benchmarks time it beside others'."""

from collections.abc import Callable
from contextlib import nullcontext

import torch


def ours(
    model: torch.nn.Module, objective, batch, rate: float, autocast: Callable = nullcontext
) -> tuple[Callable[[], float], float]:
    """A turn of forward, in the context `autocast`, backward and AdamW without decay; the loss of the first one."""
    from viva.base import machine
    from viva.train.optim import adamw

    machine.keep_freed_memory()  # as every run does
    optimizer = adamw.Config(weight_decay=0.0).build(model.train())
    for group in optimizer.param_groups:
        group["lr"] = rate

    def turn() -> float:
        with autocast():
            loss = objective(model, batch)
        (loss.sum / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.sum.item() / loss.count

    return turn, turn()
