"""Families of verified Python tasks: each draws an expression; the answer is what the interpreter says."""

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from viva.base.errors import Refusal, nearest
from viva.text.expression import evaluate

HELD_OUT = 0.15  # the share of operand settings that training never sees

WORDS = [
    "apple", "bird", "blue", "bread", "cat", "cloud", "code", "dog", "door", "earth", "fire", "fish", "flower",
    "gold", "green", "hand", "house", "ink", "iron", "key", "lamp", "leaf", "light", "lion", "milk", "moon", "mouse",
    "night", "ocean", "paper", "pear", "pine", "queen", "rain", "red", "river", "road", "rose", "salt", "sand",
    "ship", "silver", "snow", "song", "star", "stone", "sun", "table", "tea", "tiger", "tree", "water", "west",
    "wind", "wolf", "wood", "word", "yellow",
]  # fmt: skip

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
    """A number below 50 and a digit."""
    return f"{rng.randint(0, 49)} + {rng.randint(0, 9)}"


def subtract(rng: random.Random) -> str:
    """A number below 50 less a digit; the difference may be negative."""
    return f"{rng.randint(0, 49)} - {rng.randint(0, 9)}"


def multiply(rng: random.Random) -> str:
    """A number below 150, times 0, 1, 2 or 10."""
    return f"{rng.randint(0, 149)} * {rng.choice([0, 1, 2, 10])}"


def divide(rng: random.Random) -> str:
    """The tens, the last digit or the parity of a number below 300."""
    return f"{rng.randint(0, 299)} {rng.choice(['// 10', '% 10', '% 2'])}"


def compare(rng: random.Random) -> str:
    """Two numbers below 50."""
    return f"{rng.randint(0, 49)} {rng.choice(['<', '<=', '>', '>='])} {rng.randint(0, 49)}"


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
    """The sum of two or three digits."""
    return f"sum({_digits(rng, 2, 3)})"


def order(rng: random.Random) -> str:
    """Two or three digits in order."""
    return f"sorted({_digits(rng, 2, 3)})"


def index(rng: random.Random) -> str:
    """One element of a list or a string of digits."""
    size = rng.randint(2, 4)
    sequence = rng.choice([_digits, _quoted])
    return f"{sequence(rng, size, size)}[{rng.randint(-1, size - 1)}]"


def cut(rng: random.Random) -> str:
    """The beginning, the end or the reverse of three or four digits."""
    sequence = rng.choice([_digits, _quoted])
    return f"{sequence(rng, 3, 4)}[{rng.choice([':1', ':2', '1:', '2:', '-1:', '-2:', ':-1', '::-1'])}]"


def member(rng: random.Random) -> str:
    """Whether a digit or a word is in a list."""
    known = rng.choice([WORDS, range(10)])
    sequence = rng.sample(known, rng.randint(2, 4))
    sought = rng.choice([rng.choice(sequence), rng.choice(known)])
    return f"{sought!r} {rng.choice(['in', 'not in'])} {sequence}"


def lookup(rng: random.Random) -> str:
    """One of the digits in a dict with two or three letters as keys."""
    keys = rng.sample("abcdexyz", rng.randint(2, 3))
    return f"{ {key: rng.randint(0, 9) for key in keys}!r}[{rng.choice(keys)!r}]"


def case(rng: random.Random) -> str:
    """A word in other letters: all large, all small, the first one large."""
    word = rng.choice([str.lower, str.capitalize, str.upper])(rng.choice(WORDS))
    return f"{word!r}.{rng.choice(['upper', 'lower', 'capitalize'])}()"


def join(rng: random.Random) -> str:
    """Two lists, or two strings, of digits laid end to end."""
    sequence = rng.choice([_digits, _quoted])
    return f"{sequence(rng, 1, 2)} + {sequence(rng, 1, 2)}"


FAMILIES: dict[str, Callable[[random.Random], str]] = {
    family.__name__: family
    for family in (
        add, subtract, multiply, divide, compare, logic, length, extreme, total, order, index, cut, member, lookup,
        case, join,
    )
}  # fmt: skip


def _digits(rng: random.Random, least: int, most: int) -> str:
    """A list of numbers of one digit."""
    return repr([rng.randint(0, 9) for _ in range(rng.randint(least, most))])


def _quoted(rng: random.Random, least: int, most: int) -> str:
    """A string of digits: each is a token, so that a small model can see what the string is made of."""
    return repr("".join(rng.choice("0123456789") for _ in range(rng.randint(least, most))))
