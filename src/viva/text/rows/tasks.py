"""Families of verified Python tasks: each draws an expression; the answer is what the interpreter says."""

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from viva.base.errors import Refusal, nearest
from viva.text.rows.expression import evaluate

HELD_OUT = 0.15  # the share of operand settings that training never sees

QUESTIONS = (
    "What does `{}` evaluate to?",
    "What is the value of `{}`?",
    "Evaluate `{}`.",
    "Compute `{}`.",
    "`{}` 的值是多少?",
    "计算 `{}`。",
)


@dataclass(frozen=True)
class Task:
    """A question about `expression`, drawn by a family, and the interpreter's answer."""

    family: str
    expression: str
    question: str
    answer: str


def task(name: str, held_out: bool, rng: random.Random) -> Task:
    """A task of the family `name` from the one or the other side of the split."""
    if name not in FAMILIES:
        raise Refusal("a task family must be known", repr(name), nearest(name, sorted(FAMILIES)))
    expression = FAMILIES[name](rng)
    while is_held_out(expression) != held_out:
        expression = FAMILIES[name](rng)
    question = rng.choice(QUESTIONS).format(expression)
    return Task(name, expression, question, repr(evaluate(expression)))


def is_held_out(expression: str) -> bool:
    """The side of the split, a pure function of the words and numbers in the expression, whatever their order.

    So `3 + 5`, `5 + 3` and `5 - 3` are on the same side: the operands of a held-out task are new, not their order.
    """
    operands = " ".join(sorted(re.findall(r"\w+", expression)))
    return hashlib.blake2b(operands.encode(), digest_size=1).digest()[0] < HELD_OUT * 256


def add(rng: random.Random) -> str:
    """A number below 250, plus 1, 2 or 10."""
    return f"{rng.randint(0, 249)} + {rng.choice([1, 2, 10])}"


def subtract(rng: random.Random) -> str:
    """A number from 10 to 259, less 1, 2 or 10."""
    return f"{rng.randint(10, 259)} - {rng.choice([1, 2, 10])}"


def multiply(rng: random.Random) -> str:
    """A number below 150, times 0, 1, 10 or 100."""
    return f"{rng.randint(0, 149)} * {rng.choice([0, 1, 10, 100])}"


def divide(rng: random.Random) -> str:
    """The tens, the last digit or the parity of a number below 300."""
    return f"{rng.randint(0, 299)} {rng.choice(['// 10', '% 10', '% 2'])}"


def compare(rng: random.Random) -> str:
    """Two numbers below 20."""
    return f"{rng.randint(0, 19)} {rng.choice(['<', '<=', '>', '>='])} {rng.randint(0, 19)}"


def logic(rng: random.Random) -> str:
    """Two comparisons of digits, each perhaps negated, joined by `and` or `or`."""
    left, right = (f"{rng.choice(['', 'not '])}{rng.randint(0, 9)} < {rng.randint(0, 9)}" for _ in range(2))
    return f"{left} {rng.choice(['and', 'or'])} {right}"


def length(rng: random.Random) -> str:
    """How many digits a list or a string holds."""
    return f"len({rng.choice([_digits, _quoted])(rng, 1, 6)})"


def extreme(rng: random.Random) -> str:
    """The largest or smallest of two or three digits."""
    return f"{rng.choice(['max', 'min'])}({_digits(rng, 2, 3)})"


def total(rng: random.Random) -> str:
    """The sum of three to six numbers from 0 to 2."""
    return f"sum({[rng.randint(0, 2) for _ in range(rng.randint(3, 6))]})"


def order(rng: random.Random) -> str:
    """Two or three digits in order."""
    return f"sorted({_digits(rng, 2, 3)})"


def index(rng: random.Random) -> str:
    """One element of a list or a string of two digits."""
    return f"{rng.choice([_digits, _quoted])(rng, 2, 2)}[{rng.randint(-1, 1)}]"


def cut(rng: random.Random) -> str:
    """The beginning, the rest or the reverse of two or three digits."""
    return f"{rng.choice([_digits, _quoted])(rng, 2, 3)}[{rng.choice([':1', '1:', '::-1'])}]"


def member(rng: random.Random) -> str:
    """Whether a digit is in a list of two."""
    sequence = rng.sample(range(10), 2)
    sought = rng.choice([rng.choice(sequence), rng.randint(0, 9)])
    return f"{sought} {rng.choice(['in', 'not in'])} {sequence}"


def lookup(rng: random.Random) -> str:
    """One of the two digits in a dict with letters as keys."""
    keys = rng.sample("abc", 2)
    return f"{ {key: rng.randint(0, 9) for key in keys}!r}[{rng.choice(keys)!r}]"


def join(rng: random.Random) -> str:
    """Two lists, or two strings, of digits laid end to end."""
    sequence = rng.choice([_digits, _quoted])
    return f"{sequence(rng, 1, 2)} + {sequence(rng, 1, 2)}"


FAMILIES: dict[str, Callable[[random.Random], str]] = {
    family.__name__: family
    for family in (
        add, subtract, multiply, divide, compare, logic, length, extreme, total, order, index, cut, member, lookup,
        join,
    )
}  # fmt: skip


def _digits(rng: random.Random, least: int, most: int) -> str:
    """A list of numbers of one digit."""
    return repr([rng.randint(0, 9) for _ in range(rng.randint(least, most))])


def _quoted(rng: random.Random, least: int, most: int) -> str:
    """A string of digits: each is a token, so that a small model can see what the string is made of."""
    return repr("".join(rng.choice("0123456789") for _ in range(rng.randint(least, most))))
