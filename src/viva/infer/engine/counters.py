"""What an engine counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Counters:
    """Requests `waiting` and `running`; of the `blocks` those `used` and those `idle`, which may be found again.

    Since the beginning: tokens that were found in the cache (`hits`) or had to be read (`misses`) when a request began,
    or began again after it was `preempted`; guesses that were read (`drafted`), and those of them `accepted`.
    """

    waiting: int
    running: int
    blocks: int
    used: int
    idle: int
    hits: int
    misses: int
    preempted: int
    drafted: int
    accepted: int
