"""What the steps of a run measured, metric by metric."""

import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean, pvariance
from typing import Any

OF_UPDATES = ("loss", "norm")  # which mean nothing in a step that made no update


class History:
    """`history["kl"]` are the values of a metric so far, in order; none of a metric that was not recorded."""

    def __init__(self, records: Iterable[dict[str, Any]] = ()):
        self.values: dict[str, list[float]] = defaultdict(list)
        self.fresh: frozenset[str] = frozenset()  # metrics of the last record: an evaluation is one of few steps
        for record in records:
            self.take(record)

    def take(self, record: dict[str, Any]) -> None:
        """Add the numbers of a record; of one that says `skipped` those that it would have of updates are left out."""
        told = {name: value for name, value in record.items() if isinstance(value, int | float)}
        if "skipped" in record:
            told = {name: value for name, value in told.items() if name not in OF_UPDATES}
        for name, value in told.items():
            self.values[name].append(value)
        self.fresh = frozenset(told)

    def __getitem__(self, name: str) -> list[float]:
        return self.values.get(name, [])

    def first(self, name: str, window: int) -> float:
        """The mean of the first values."""
        return fmean(self[name][:window])

    def last(self, name: str, window: int) -> float:
        """The mean of the last values."""
        return fmean(self[name][-window:])

    def error(self, name: str, window: int) -> float:
        """The standard error of the difference between those two means, by the spread of the values in each."""
        return math.sqrt(sum(pvariance(part) / len(part) for part in (self[name][:window], self[name][-window:])))

    def blocks(self, name: str, window: int) -> list[float]:
        """The means of the values, so many at a time; of what is left over at the end none.

        >>> History({"kl": kl} for kl in (1, 3, 5, 7, 9)).blocks("kl", 2)
        [2.0, 6.0]
        """
        values = self[name]
        return [fmean(values[end - window : end]) for end in range(window, len(values) + 1, window)]
