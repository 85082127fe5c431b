"""Several classifiers asked as one: the mean of their probabilities (soft voting; Hansen and Salamon 1990)."""

from collections.abc import Sequence
from typing import Protocol

from viva.base.errors import Refusal
from viva.infer.classify import Prediction


class Classifier(Protocol):
    """What `viva.load` gives of a model with the head `classify`."""

    labels: tuple[str, ...] | None

    def classify(self, texts: list[str], pair: list[str] | None = None) -> list[Prediction]: ...


def ensemble(members: Sequence[Classifier], texts: list[str], pair: list[str] | None = None) -> list[Prediction]:
    """The class of each text by the mean of the members' probabilities; they may be of any architectures and read by
    any tokenizers. Refused: fewer than two, or members with other classes.
    """
    if len(members) < 2:
        raise Refusal("an ensemble must have two members at least", len(members), "load more models")
    told = [member.classify(texts, pair) for member in members]
    names = [sorted(found[0].probabilities) for found in told if found]
    if other := next((each for each in names if each != names[0]), None):
        fix = "train them on the same classes"
        raise Refusal("the members of an ensemble must tell the same classes apart", f"{other} and {names[0]}", fix)
    return [_mean(of_a_text) for of_a_text in zip(*told, strict=True)]


def _mean(predictions: Sequence[Prediction]) -> Prediction:
    classes = predictions[0].probabilities
    means = {name: sum(each.probabilities[name] for each in predictions) / len(predictions) for name in classes}
    label = max(means, key=means.__getitem__)
    return Prediction(label, means[label], means)
