"""Contestants side by side: each in a process of its own, taking turns, so that a slow moment of the machine meets all.

A contestant is a function that prepares itself and returns `(turn, facts)`: `turn()` does the work once and returns a
number or None; `facts` says what should be equal between them (a first loss, the first tokens).
"""

import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Seconds of each counted turn, the most memory in MiB, and what the contestant said of itself.

    Memory is that of the GPU, as torch counts it, where one was used, else the process's resident set.
    """

    seconds: list[float]
    memory: float
    facts: object

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def _serve(prepare: Callable, pipe) -> None:
    turn, facts = prepare()
    pipe.send(facts)
    while pipe.recv():
        start = time.perf_counter()
        turn()
        pipe.send(time.perf_counter() - start)
    pipe.send(_memory())


def _memory() -> float:
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def play(contestants: dict[str, Callable], turns: int, warmup: int = 2) -> dict[str, Result]:
    """`warmup` uncounted and `turns` counted turns of each, in rotation; one that cannot start is left out, with its
    reason.
    """
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's threads and memory
    seats = {}
    for name, prepare in contestants.items():
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(prepare, there), daemon=True)
        process.start()
        there.close()
        try:
            seats[name] = (here, process, here.recv())
        except EOFError:
            print(f"{name}: left out, its process ended before it was ready (see above)")
    times = {name: [] for name in seats}
    for round_ in range(warmup + turns):
        for name, (pipe, _, _) in seats.items():
            pipe.send(True)
            seconds = pipe.recv()
            if round_ >= warmup:
                times[name].append(seconds)
    results = {}
    for name, (pipe, process, facts) in seats.items():
        pipe.send(False)
        results[name] = Result(times[name], pipe.recv(), facts)
        process.join()
    return results
