"""What several troubles ask of rewards."""

import math
from statistics import fmean, variance

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
    values, errors = history.blocks(name, window), _errors(history, name, window)
    best = max(range(len(values)), key=values.__getitem__)
    return best, values[best] - values[-1], math.hypot(errors[best], errors[-1])


def _errors(history: History, name: str, window: int) -> list[float]:
    """The standard error of each block's mean: by those of its values or, where that is more, by how these spread. Of a
    few prompts either alone is 0 now and then.
    """
    values, errors = history[name], history[f"{name}_error"]
    starts = range(0, len(values) - window + 1, window)
    within = (fmean(error**2 for error in errors[at : at + window]) for at in starts)
    between = (variance(values[at : at + window]) if window > 1 else 0.0 for at in starts)
    return [math.sqrt(max(pair) / window) for pair in zip(within, between, strict=True)]
