"""The one form in which viva refuses: what must hold, what was found, what to do."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches


class Refusal(Exception):
    """Something the user gave cannot be used.

    `must` states the condition, `found` shows the offending value, `fix` says what to do about it.
    The command line prints the sentence and exits with code 2; in Python it is an ordinary exception.

    >>> print(Refusal("train.lr must be a positive number", "'fast'", "write a number such as 3e-4"))
    train.lr must be a positive number, but found 'fast'. To fix it, write a number such as 3e-4.
    """

    def __init__(self, must: str, found: object, fix: str):
        self.must, self.found, self.fix = must, str(found), fix.rstrip(".")
        super().__init__(f"{must}, but found {self.found}. To fix it, {self.fix}.")


class Notice(UserWarning):
    """Something the user should know although the work goes on; the command line prints it as one line."""


@contextmanager
def notices(take: Callable[[str], None]) -> Iterator[None]:
    """Give `take` every Notice, also one that was said before; other warnings go their way."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        ordinary = warnings.showwarning

        def show(message, category, *where, **more) -> None:
            if issubclass(category, Notice):
                take(str(message))
            else:
                ordinary(message, category, *where, **more)

        warnings.showwarning = show
        yield


def counted(said: Mapping[str, int]) -> list[str]:
    """What was said, each with how often.

    >>> counted({"a turn is cut": 1, "an answer is empty": 1200})
    ['a turn is cut', 'an answer is empty (1,200 times)']
    """
    return [notice if count == 1 else f"{notice} ({count:,} times)" for notice, count in said.items()]


def nearest(word: str, known: list[str]) -> str:
    """A sentence that names the closest of `known` to `word`, and all of them.

    >>> nearest("rop", ["alibi", "rope"])
    "use 'rope' (the nearest) or another of: alibi, rope"
    """
    close = get_close_matches(word, known, n=1, cutoff=0.0)
    listed = ", ".join(known)
    return f"use {close[0]!r} (the nearest) or another of: {listed}" if close else "remove it: nothing is accepted here"
