"""Work on many items by all cores, with the results in the order of the items."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T, U = TypeVar("T"), TypeVar("U")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(work: Callable[[T], U], items: Iterable[T], workers: int | None = None) -> Iterator[tuple[T, U]]:
    """Each item with the result of `work` on it.

    Threads, for work that is done without Python's lock, as that of `tokenizers` and tiktoken is: they share the
    tokenizer, start at once, and need no item to be written down for another process. Only as many items are taken
    ahead as keep every worker busy, so memory is bounded however many there are.
    """
    workers = workers or cores()
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > 2 * workers:
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        finally:
            for _, result in waiting:
                result.cancel()
