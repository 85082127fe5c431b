"""What the objectives share that tell classes apart."""

from pydantic import AfterValidator

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format


def _teaching(weights: object) -> object:
    if isinstance(weights, tuple) and (not any(weights) or min(weights) < 0):
        raise ValueError("must be at least 0 each, and one of them above, or nothing is learned")
    return weights


Teaching = AfterValidator(_teaching)  # of a field of weights, one a class


def require_weights(model: Transformer, weights: object) -> None:
    """Refuse `weights` that are not one for each class of the model's head."""
    labels = model.spec.head.labels
    if isinstance(weights, tuple) and len(weights) != labels:
        must = f"objective.weights must have one for each of {labels} classes"
        raise Refusal(must, len(weights), "give as many, in the order of format.labels")


def require_same_classes(model: Transformer, form: Format) -> None:
    """Refuse rows of a single class, and a head that does not tell apart as many as the rows have."""
    names, labels = form.classes(), model.spec.head.labels
    if names is None:
        must = f"rows must have classes for the head {kind(model.spec.head)} to tell apart"
        fix = "use the format tags" if kind(model.spec.head) == "tag" else "set head to regress to predict values"
        raise Refusal(must, "values, or none at all", fix)
    if len(names) < 2:
        fix = "give rows of another class, and name it in format.labels if that is given"
        raise Refusal("the data must have two classes at least to be told apart", repr(names[0]), fix)
    if len(names) != labels:
        fix = f"set head.labels to {len(names)}, or leave head out"
        raise Refusal(f"the head must tell apart the {len(names)} classes of the data", labels, fix)
