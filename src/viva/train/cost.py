"""What a run will cost in memory and time: found by taking its first steps, on weights that are thrown away."""

import time

import torch

from viva.base import machine
from viva.train.job import Job, State
from viva.train.loop import length
from viva.train.step import update

TIMED = 3  # steps that are taken; the fastest counts
GIB = 2**30


def cost(job: Job) -> list[str]:
    """Memory by kind, and time, in sentences; a run that does not fit into memory is not tried."""
    weights = sum(_bytes(parameter) for parameter in job.model.parameters())
    states = activations(job)
    least, room = 2 * weights + states, available(job.precision.device)
    if least > room:
        known = f"{weights / GIB:.2f} GiB each for weights and gradients, {states / GIB:.2f} for activations"
        return [
            f"WARNING: memory: {known}, more than the {room / GIB:.1f} GiB there are: lower train.batch or the model"
        ]
    step = seconds(job)
    optimizer = sum(_bytes(tensor) for memory in job.optimizer.state.values() for tensor in memory.values())
    return [
        f"memory: weights {weights / GIB:.2f} GiB, gradients {weights / GIB:.2f}, optimizer {optimizer / GIB:.2f}, "
        f"activations {states / GIB:.2f}: {(least + optimizer) / GIB:.2f} of {room / GIB:.1f} GiB",
        f"time: {step:.2f} s a step, {_whole(job, step)}",
    ]


def activations(job: Job) -> int:
    """The bytes that the forward pass of a batch keeps for the backward pass, from that of its first row.

    Weights are kept too, but are not counted; a storage that several operations keep counts once.
    """
    batch = job.data.micro_batches(0)[0].to(job.precision.device)
    row = batch.first_row()
    own = {parameter.untyped_storage().data_ptr() for parameter in job.model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), job.precision.autocast():
        loss = job.objective(job.model, row)  # held, so that no storage is freed and counted for another
    del loss
    return sum(kept.values()) * len(batch.lengths) // len(row.lengths)


def seconds(job: Job) -> float:
    """The shortest of the first steps; they change the job's weights."""
    state, times = State(), []
    for _ in range(TIMED):
        start = time.perf_counter()
        update(job, state)
        times.append(time.perf_counter() - start)
    return min(times)


def available(device: str) -> int:
    """The memory of a device in bytes."""
    return torch.cuda.get_device_properties(0).total_memory if device == "cuda" else machine.memory()


def _whole(job: Job, step: float) -> str:
    steps = length(job.train, job.data)
    if steps is None:
        return f"about {60 * job.train.minutes / step:,.0f} steps in {job.train.minutes:g} minutes"
    return f"{steps:,} steps in {steps * step / 60:.1f} minutes, evaluation and saving apart"


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
