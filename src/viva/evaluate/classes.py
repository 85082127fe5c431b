"""How well a model tells classes apart: accuracy, macro F1, and the interval over several runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from viva.base.errors import Refusal
from viva.model.layout import Layout
from viva.model.whole import Whole
from viva.text.format.classes import Config as Format
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer

AT_ONCE = 64  # texts that are read together, end to end in one row


@dataclass(frozen=True)
class Scores:
    """`accuracy`: the share told right. `macro_f1`: the mean of the classes' F1, so that small ones count alike."""

    accuracy: float
    macro_f1: float


@torch.inference_mode()
def predicted(model: Whole, tokenizer: Tokenizer, form: Format, rows: Sequence[Row]) -> tuple[list[int], list[int]]:
    """The numbers of the classes of `rows`, and those the model gives; a text longer than it reads is refused."""
    model.eval()
    examples = [example for example in form.examples(rows, tokenizer) if example is not None]
    longest = max((len(example.ids) for example in examples), default=0)
    if longest > model.spec.context:
        fix = "shorten it, or use a model with a longer context"
        raise Refusal(f"a text to classify must have at most {model.spec.context} tokens", longest, fix)
    found: list[int] = []
    for at in range(0, len(examples), AT_ONCE):
        some = examples[at : at + AT_ONCE]
        ids = torch.tensor([[token for example in some for token in example.ids]])
        layout = Layout.packed((tuple(len(example.ids) for example in some),), ids.shape[1])
        second = [[int(bool(e.cut) and i >= e.cut) for e in some for i in range(len(e.ids))]]
        segments = torch.tensor(second) if model.two_segments else None
        found += model(ids, layout, segments=segments).argmax(-1).tolist()
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
