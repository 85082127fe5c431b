"""The class of each text, or of each word, as a model with the head `classify` or `tag` tells it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer.together import read_together
from viva.model.whole import Whole
from viva.text.example import UNTAGGED, Example
from viva.text.format import classes, tags
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer

ANY = "?"  # the formats by which training reads texts ask for a class; which one makes no difference here


@dataclass(frozen=True)
class Prediction:
    """The most likely class by its name, with its probability; and those of all classes, in their order."""

    label: str
    probability: float
    probabilities: dict[str, float] = field(repr=False)


def classify(
    model: Whole, tokenizer: Tokenizer, texts: Sequence[str], pair: Sequence[str] | None, names: Sequence[str]
) -> list[Prediction]:
    """What class each text is of or, with `pair`, each two texts; `names` are those of the classes."""
    second = [None] * len(texts) if pair is None else pair
    if len(second) != len(texts):
        found = f"{len(texts)} and {len(second)}"
        raise Refusal("each text must have the second text of its pair", found, "give two lists of one length")
    form = classes.Config(labels=(ANY,), pair=None if pair is None else "pair")
    given = zip(texts, second, strict=True)
    rows = [Row({"text": a, "pair": b, "label": ANY}, f"text {n}") for n, (a, b) in enumerate(given)]
    scores = class_scores(model, _all_read(form.examples(rows, tokenizer)))
    return [_prediction(row, names) for row in scores.float().softmax(-1).tolist()]


def class_scores(model: Whole, examples: Sequence[Example]) -> Tensor:
    """The scores [N, labels] of texts; one that is longer than the model reads is refused."""
    _require_fit(model, examples)
    found = [*read_together(model, [each.ids for each in examples], [each.cut for each in examples])]
    return _finite(torch.cat(found) if found else model.embedding.weight.new_empty(0, model.spec.head.labels))


def tag(
    model: Whole, tokenizer: Tokenizer, texts: Sequence[list[str]], spaces: bool, names: Sequence[str]
) -> list[list[str]]:
    """The class of each word of each text, by its first token as in training; `spaces` as in the format `tags`."""
    form = tags.Config(labels=(ANY,), spaces=spaces)
    rows = [Row({"tokens": words, "tags": [ANY] * len(words)}, f"text {n}") for n, words in enumerate(texts)]
    examples = _all_read(form.examples(rows, tokenizer))
    _require_fit(model, examples)
    best = [_finite(scores[0]).argmax(-1) for scores in read_together(model, [each.ids for each in examples])]
    told = torch.cat(best).split([len(each.ids) for each in examples]) if best else []
    return [_firsts(each, found.tolist(), names) for each, found in zip(examples, told, strict=True)]


def _firsts(example: Example, told: list[int], names: Sequence[str]) -> list[str]:
    """The classes told at the first tokens of words."""
    return [names[best] for best, place in zip(told, example.tags, strict=True) if place != UNTAGGED]


def _prediction(row: list[float], names: Sequence[str]) -> Prediction:
    probabilities = dict(zip(names, row, strict=True))
    label = max(probabilities, key=probabilities.__getitem__)
    return Prediction(label, probabilities[label], probabilities)


def _all_read(examples: list[Example | None]) -> list[Example]:
    """The examples, none of which may be of a text that training would leave out."""
    if None in examples:
        raise Refusal("a text must have words to have a class", f"none in text {examples.index(None)}", "leave it out")
    return examples


def _require_fit(model: Whole, examples: Sequence[Example]) -> None:
    longest = max((len(example.ids) for example in examples), default=0)
    if longest > model.spec.context:
        fix = "shorten it, or use a model with a longer context"
        raise Refusal(f"a text to classify must have at most {model.spec.context} tokens", longest, fix)


def _finite(scores: Tensor) -> Tensor:
    if not bool(scores.isfinite().all()):
        fix = "load the model in float32, or load an intact one"
        raise Refusal("a model's scores must be finite", "NaN or infinity", fix)
    return scores
