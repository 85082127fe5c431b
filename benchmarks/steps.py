"""viva's training step, as benchmarks time it beside others'."""

from collections.abc import Callable

import torch


def ours(model: torch.nn.Module, objective, batch, rate: float) -> tuple[Callable[[], float], float]:
    """A turn of forward, backward and AdamW without decay, and the loss of the first one."""
    from viva.base import machine
    from viva.train.optim import adamw

    machine.keep_freed_memory()  # as every run does
    optimizer = adamw.Config(weight_decay=0.0).build(model.train())
    for group in optimizer.param_groups:
        group["lr"] = rate

    def turn() -> float:
        loss = objective(model, batch)
        (loss.sum / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.sum.item() / loss.count

    return turn, turn()
