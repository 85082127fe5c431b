"""How well a model tells classes apart: accuracy, macro F1, and the interval over several runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from viva.base.errors import Refusal
from viva.infer.classify import class_scores
from viva.model.whole import Whole
from viva.text.rows.format.classes import Config as Format
from viva.text.rows.row import Row
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Scores:
    """`accuracy`: the share told right. `macro_f1`: the mean of the classes' F1, so that small ones count alike."""

    accuracy: float
    macro_f1: float


def predicted(model: Whole, tokenizer: Tokenizer, form: Format, rows: Sequence[Row]) -> tuple[list[int], list[int]]:
    """The numbers of the classes of `rows`, and those the model gives; refused where a row has no text, or a longer one
    than it reads.
    """
    model.eval()
    examples = form.examples(rows, tokenizer)
    if None in examples:
        where, fix = rows[examples.index(None)].where, "fill it in, or leave the row out"
        raise Refusal(f"{where} must have a text to be told a class", "none", fix)
    found = class_scores(model, examples).argmax(-1).tolist()
    return [int(example.label) for example in examples], found


def scores(expected: Sequence[int], found: Sequence[int]) -> Scores:
    """Of predictions beside what they should be."""
    from sklearn.metrics import accuracy_score, f1_score

    return Scores(float(accuracy_score(expected, found)), float(f1_score(expected, found, average="macro")))


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The mean of several runs and half the width of its interval by Student's t (Gosset 1908).

    >>> [round(x, 3) for x in interval([1.0, 2.0, 3.0])]
    [2.0, 2.484]
    """
    from scipy import stats

    n = len(values)
    if n < 2:
        raise Refusal("an interval must come from two values at least", n, "make more runs, with other seeds")
    mean, error = sum(values) / n, float(stats.sem(values))
    return mean, error * float(stats.t.ppf((1 + confidence) / 2, n - 1))
