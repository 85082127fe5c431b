"""What several troubles ask of rewards."""

import math

from viva.train.health._history import History

NEAR = 0.05  # of the range of all rewards


def solved(history: History, window: int) -> bool:
    """Whether replies are worth nearly the most that any ever was: then nothing is left to be found, and a policy that
    varies no more, or whose replies are all worth the same, is as it should be.
    """
    lowest, highest = min(history["lowest_reward"], default=0.0), max(history["highest_reward"], default=0.0)
    return lowest < highest and history.last("reward", window) >= highest - NEAR * (highest - lowest)


def best_and_fall(history: History, name: str, window: int) -> tuple[int, float, float]:
    """Of a metric with a standard error beside it: the number of its best block, how far the last is below that, and
    the standard error of this difference.
    """
    values, errors = history.blocks(name, window), history.blocks(f"{name}_error", window)
    best = max(range(len(values)), key=values.__getitem__)
    return best, values[best] - values[-1], math.hypot(errors[best], errors[-1]) / math.sqrt(window)
