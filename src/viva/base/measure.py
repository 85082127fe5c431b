"""Timing a piece of work, and choosing by what was measured."""

import time
from collections.abc import Callable
from typing import NamedTuple

MEASURED_S = 0.3  # how long a measurement repeats itself; the best repetition counts


class Verdict(NamedTuple):
    """What a measurement chose, and the sentence that says why."""

    name: str
    why: str


def fastest(rates: dict[str, float], what: str, unit: str, margin: float = 1.2) -> Verdict:
    """The name with the highest of `rates`; the first wins unless beaten by the factor `margin`."""
    first, best = next(iter(rates)), max(rates, key=rates.get)
    shown = ", ".join(f"{name} {rate:.3g}" for name, rate in rates.items())
    return Verdict(best if rates[best] > margin * rates[first] else first, f"{what} {shown} {unit}")


def shortest(run: Callable[[], object], on: str, budget: float = MEASURED_S) -> float:
    """The shortest of the repetitions of `run` on device `on` that fit into `budget` seconds, in seconds."""
    import torch

    wait = torch.cuda.synchronize if on == "cuda" else lambda: None
    run(), wait()
    times, end = [], time.perf_counter() + budget
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        run(), wait()
        times.append(time.perf_counter() - start)
    return min(times)
