"""What the objectives share that tell classes apart."""

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator
from torch import Tensor

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format
from viva.train.loss.class_loss import balanced
from viva.train.objective import Ground


def _teaching(weights: object) -> object:
    if isinstance(weights, tuple) and (not any(weights) or min(weights) < 0):
        raise ValueError("must be at least 0 each, and one of them above, or nothing is learned")
    return weights


Weights = Annotated[Literal["balanced"] | tuple[float, ...] | None, AfterValidator(_teaching)]  # a number a class


def weights_of(weights: Weights, ground: Ground | None) -> Tensor | None:
    """One a class of the head, [C]; balanced by what is of each class in the training data: documents or, where these
    have tags, tokens. A class that the data has not weighs as if there were one of it.
    """
    if weights == "balanced":
        return balanced(torch.from_numpy(ground.documents.tally_classes(ground.model.spec.head.labels)))
    return None if weights is None else torch.tensor(weights)


def require_weights(model: Transformer, weights: Weights) -> None:
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
