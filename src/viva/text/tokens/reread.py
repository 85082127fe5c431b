"""Texts that are made anew each time they are read, so that none need be kept in memory."""

from collections.abc import Callable, Iterable, Iterator


class Reread:
    """An iterable that calls `make` for its items each time that it is read."""

    def __init__(self, make: Callable[[], Iterable[str]]):
        self.make = make

    def __iter__(self) -> Iterator[str]:
        return iter(self.make())
