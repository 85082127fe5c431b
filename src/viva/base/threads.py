"""How many threads decode the fastest: measured, for where other processes compute, threads that wait for each other
can take many times as long as one.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING

from viva.base.errors import Refusal
from viva.base.measure import Verdict, fastest

if TYPE_CHECKING:
    from torch import Tensor

MEASURED_S = 0.6  # for all numbers of threads together
VARIABLE = "OMP_NUM_THREADS"
MARGIN = 1.05  # by which more threads must beat one


def choose(weights: Sequence["Tensor"], told: int | None = None) -> Verdict:
    """The number of threads, and why: the one `told`, that of OMP_NUM_THREADS, or of 1, 2, 4 and so on, up to all
    cores, the one with which vectors are multiplied by `weights`, each [F, E], the fastest. On another device than a
    CPU it is torch's own number.
    """
    import torch

    if told is not None:
        if told < 1:
            raise Refusal("threads must be at least 1", told, "leave them out to have them measured")
        return Verdict(str(told), "as told")
    if os.environ.get(VARIABLE):
        return Verdict(str(torch.get_num_threads()), f"as {VARIABLE} says")
    if weights[0].device.type != "cpu":
        return Verdict(str(torch.get_num_threads()), f"torch's own, as {weights[0].device.type} computes")
    counts = _counts()
    rates = {str(count): rate(weights, count, MEASURED_S / len(counts)) for count in counts}
    return fastest(rates, "matrix-vector products with so many threads read", "billion weights/s", MARGIN)


def told(chosen: Verdict) -> str:
    """That choice in words."""
    return f"{chosen.name} {'thread' if chosen.name == '1' else 'threads'}: {chosen.why}"


def _counts() -> list[int]:
    """1, 2, 4 and so on, and all cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [*(2**power for power in range(cores.bit_length()) if 2**power < cores), cores]


def rate(weights: Sequence["Tensor"], count: int, seconds: float) -> float:
    """How many weights, in 1e9 a second, are applied to a vector with `count` threads, on average over `seconds`: the
    best repetition would hide that threads wait for each other.
    """
    import torch

    from viva.base.product import product, rowwise

    vectors = {weight.shape[1]: torch.ones(1, weight.shape[1], dtype=weight.dtype) for weight in weights}
    circle, read, spent = cycle(weights), 0, 0.0
    with using(count), rowwise(), torch.inference_mode():
        product(vectors[weights[0].shape[1]], weights[0])  # begins the threads
        start = time.perf_counter()
        while spent < seconds:
            weight = next(circle)
            product(vectors[weight.shape[1]], weight)
            read, spent = read + weight.numel(), time.perf_counter() - start
    return read / spent / 1e9


@contextmanager
def using(count: int) -> Iterator[None]:
    """Let torch compute with so many threads here; other threads of Python that compute already keep their own."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
