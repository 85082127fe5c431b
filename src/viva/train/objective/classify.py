"""A class for each document, or a value: topics, polarity, whether one sentence follows from another."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from viva.base.config import Config as BaseConfig
from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.head import classify, regress
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss.class_loss import class_cross_entropy
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head, require_one_side
from viva.train.objective._classes import Weights, require_same_classes, require_weights, weights_of
from viva.train.reading import Piece, Reading, lengths


class Config(Base):
    """For classes of unequal size: `weights` "balanced" weighs each in inverse proportion to its count in the training
    data, a list gives one a class; `gamma` > 0 is the focal loss. `smoothing`: the share of each target that is spread
    over all classes (Szegedy et al. 2016). The held-out loss is the plain cross-entropy, whatever these are, so that
    it can be compared. With the head `regress` the loss is the squared error.
    """

    heads: ClassVar[tuple[str, ...]] = ("classify", "regress")

    weights: Weights = None
    gamma: float = Field(0.0, ge=0)
    smoothing: float = Field(0.0, ge=0, lt=1)

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Classes(padding(tokenizer))

    def head(self, form: Format) -> BaseConfig | None:
        names = form.classes()
        return regress.Config() if names is None else classify.Config(labels=len(names))

    def require(self, model: Transformer) -> None:
        require_head(model, "a model must have a head for classes to tell them apart", *self.heads)
        if kind(model.spec.head) == "classify" and model.spec.head.several:
            fix = "give a new head: head.kind=classify, with head.labels the number of classes"
            raise Refusal("a head must tell one class of each text to learn by this objective", "several", fix)
        given = sorted(name for name in ("weights", "gamma", "smoothing") if getattr(self, name))
        if kind(model.spec.head) == "regress" and given:
            found, fix = ", ".join(given), "leave these out, or set head to classify"
            raise Refusal("the squared error of values must be given no remedy for classes", found, fix)
        require_one_side(model)
        require_weights(model, self.weights)

    def require_classes(self, model: Transformer, form: Format) -> None:
        if kind(model.spec.head) == "classify":
            require_same_classes(model, form)
        elif (names := form.classes()) is not None:
            found, fix = f"{len(names)} classes", "set format.values to true, or leave head out"
            raise Refusal("rows must have values for the head regress to predict", found, fix)

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed loss, with the number of documents told right as `accuracy`; the plain one in evaluation."""
        weights = weights_of(self.weights, ground)

        def classes(model: nn.Module, batch: Batch) -> Loss:
            scores = model(batch.ids, batch.layout, segments=batch.segments if model.tells_segments else None)
            if scores.ndim == 1:
                return Loss((scores.float() - batch.targets).square().sum(), batch.count)
            aims = batch.targets.long()
            remedies = (weights, self.gamma, self.smoothing) if model.training else ()
            total = class_cross_entropy(scores, aims, *remedies)
            return Loss(total, batch.count, {"accuracy": float((scores.argmax(-1) == aims).sum())})

        return classes


class Classes(Reading):
    """Documents whole, their classes or values as targets; the second of two texts is the second segment."""

    ahead = 0
    every = False
    whole = True

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        labels = torch.tensor([piece.label for row in rows for piece in row])
        if not labels.isfinite().all():
            fix = "use the format `classes`, which reads them"
            raise Refusal("documents must have labels for a model to learn them", "none in the token cache", fix)
        ids = self.laid([[piece.ids for piece in row] for row in rows], self.pad)
        return Batch(ids, labels, lengths(rows), segments=self.segments(rows))
