"""What a run will cost in memory and time, found without a step of it: no weight is changed."""

import time
from collections.abc import Iterable

import torch

from viva.base import machine
from viva.model.size import held
from viva.text.preflight.report import Cost
from viva.train.flops import train_flops
from viva.train.job import Job
from viva.train.step import backward, learned

TIMED = 2  # steps that are timed; the faster counts
PATIENCE = 60.0  # seconds that a step may take at the machine's peak to be timed, or to be timed again


def cost(job: Job, tokens: int) -> Cost:
    """Of a job whose steps read so many tokens."""
    flops = train_flops(job.model, job.train.context)
    peak = machine.matrix_rate(job.precision.matrices, job.precision.device)
    least = flops * tokens / (peak * 1e9)
    trained = [parameter for parameter in job.learned.parameters() if parameter.requires_grad]
    memory = {"weights": total(held(job.learned)), "gradients": total(trained)}
    memory |= {name: total(tensors) for name, tensors in beside(job).items() if tensors}
    memory["activations"] = activations(job)
    room = available(job.precision.device)
    if sum(memory.values()) > room:
        return Cost(memory, room, flops, peak, least, None)
    memory["optimizer"] = remembered(job)
    return Cost(memory, room, flops, peak, least, seconds(job) if least <= PATIENCE else None)


def activations(job: Job) -> int:
    """The bytes that the forward pass of a batch keeps for the backward pass, from that of its first row.

    Weights are kept too, but are not counted; a storage that several operations keep counts once.
    """
    batch = job.data.micro_batches(0)[0].to(job.precision.device)
    row = batch.first_row()
    always = [tensor for tensors in (held(job.learned), *beside(job).values()) for tensor in tensors]
    own = {tensor.untyped_storage().data_ptr() for tensor in always}
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


def remembered(job: Job) -> int:
    """The bytes that the optimizer keeps. It makes them at its first step: here one at rate 0, which moves nothing."""
    for group in job.optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    job.optimizer.step()
    job.optimizer.zero_grad(set_to_none=True)
    return total(kept for memory in job.optimizer.state.values() for kept in memory.values())


def seconds(job: Job) -> float:
    """How long a step takes with its batches or, of a policy, the replies of its round, and with the forward and
    backward passes of all that is learned of them; updates of the weights are not among it.
    """
    times = []
    while len(times) < TIMED and sum(times) < PATIENCE:
        start = time.perf_counter()
        for given in job.data.updates(0):
            batches = [batch.to(job.precision.device) for batch in given]
            backward(job, 0, batches, learned(batches, 0))
            job.optimizer.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - start)
    return min(times)


def available(device: str) -> int:
    """The memory of a device in bytes."""
    return torch.cuda.get_device_properties(0).total_memory if device == "cuda" else machine.memory()


def beside(job: Job) -> dict[str, list[torch.Tensor]]:
    """What is held all the time beside the model that learns: models that it is compared with or judged by, and the
    average of its weights.
    """
    average = {} if job.average is None else job.average.kept
    return {"other models": [tensor for given in job.beside for tensor in given()], "average": [*average.values()]}


def total(tensors: Iterable[torch.Tensor]) -> int:
    """How many bytes they take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
