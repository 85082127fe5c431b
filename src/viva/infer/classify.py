"""The class or the value of each text, or the class of each word, as a model with the head `classify`, `regress` or
`tag` tells it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from viva.infer.together import read_examples
from viva.model.whole import Whole
from viva.text.rows.format import classes, tags
from viva.text.rows.row import Row
from viva.text.tokens.characters import couples
from viva.text.tokens.example import UNTAGGED, Example
from viva.text.tokens.tokenizer import Tokenizer

ANY = "?"  # the formats by which training reads texts ask for a class; which one makes no difference here


@dataclass(frozen=True)
class Prediction:
    """The most likely class by its name, with its probability; and those of all classes, in their order. They add up to
    1 unless a text may be of several.
    """

    label: str
    probability: float
    probabilities: dict[str, float] = field(repr=False)


def classify(
    model: Whole, tokenizer: Tokenizer, texts: Sequence[str], pair: Sequence[str] | None, names: Sequence[str]
) -> list[Prediction]:
    """What class each text is of or, with `pair`, each two texts; `names` are those of the classes."""
    scores = class_scores(model, _examples(tokenizer, texts, pair)).float()
    probabilities = scores.sigmoid() if model.spec.head.several else scores.softmax(-1)
    return [prediction(row, names) for row in probabilities.tolist()]


def values(model: Whole, tokenizer: Tokenizer, texts: Sequence[str], pair: Sequence[str] | None) -> list[float]:
    """The number that a model with the head `regress` tells of each text or, with `pair`, of each two."""
    return class_scores(model, _examples(tokenizer, texts, pair)).float().tolist()


def class_scores(model: Whole, examples: Sequence[Example]) -> Tensor:
    """The scores [N, labels] of texts, or with the head `regress` [N]; refused as by `read_examples`."""
    found = [*read_examples(model, examples)]
    return torch.cat(found) if found else model.embedding.weight.new_empty(0, model.spec.head.labels)


def tag(
    model: Whole, tokenizer: Tokenizer, texts: Sequence[list[str]], spaces: bool, names: Sequence[str]
) -> list[list[str]]:
    """The class of each word of each text, by its first token as in training; `spaces` as in the format `tags`."""
    form = tags.Config(labels=(ANY,), spaces=spaces)
    rows = [Row({"tokens": words, "tags": [ANY] * len(words)}, f"text {n}") for n, words in enumerate(texts)]
    examples = form.examples(rows, tokenizer)
    best = [scores[0].argmax(-1) for scores in read_examples(model, examples)]
    told = torch.cat(best).split([len(each.ids) for each in examples]) if best else []
    return [_firsts(each, found.tolist(), names) for each, found in zip(examples, told, strict=True)]


def _examples(tokenizer: Tokenizer, texts: Sequence[str], pair: Sequence[str] | None) -> list[Example | None]:
    """The texts as the format `classes` reads them."""
    second = [None] * len(texts) if pair is None else pair
    form = classes.Config(labels=(ANY,), pair=None if pair is None else "pair")
    given = enumerate(couples(texts, second))
    return form.examples([Row({"text": a, "pair": b, "label": ANY}, f"text {n}") for n, (a, b) in given], tokenizer)


def _firsts(example: Example, told: list[int], names: Sequence[str]) -> list[str]:
    """The classes told at the first tokens of words."""
    return [names[best] for best, place in zip(told, example.tags, strict=True) if place != UNTAGGED]


def prediction(row: list[float], names: Sequence[str]) -> Prediction:
    """Of the probabilities of the named classes."""
    probabilities = dict(zip(names, row, strict=True))
    label = max(probabilities, key=probabilities.__getitem__)
    return Prediction(label, probabilities[label], probabilities)
