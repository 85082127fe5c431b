"""Learning-rate schedules, one a file: `factor(step, steps)` is multiplied onto the peak rate at 0 <= step < steps."""


def warm(step: int, warmup: int) -> float:
    """Linear warmup that reaches 1 at step `warmup - 1`: the first step learns, the last of them at the peak.

    >>> [warm(step, 4) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def done(step: int, steps: int, start: int) -> float:
    """The share of the steps from `start` to the end that lies behind `step`: 0 at `start`, 1 after the last step.

    >>> [done(step, 6, 2) for step in range(6)]
    [0.0, 0.0, 0.0, 0.25, 0.5, 0.75]
    """
    return max(0, step - start) / max(1, steps - start)
