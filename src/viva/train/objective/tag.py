"""A class for each token: names, parts of speech, where words begin."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import nn

from viva.base.config import Config as BaseConfig
from viva.model.head import tag
from viva.model.transformer import Transformer
from viva.text.cache.documents import Documents
from viva.text.cache.pack import Long, Named, Report, Span
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.loss.class_loss import class_cross_entropy
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head, require_one_side
from viva.train.objective._classes import Weights, require_same_classes, require_weights, weights_of
from viva.train.reading import Piece, Reading, lengths


class Config(Base):
    """For classes of unequal size: `weights` "balanced" weighs each in inverse proportion to its count of tagged tokens
    in the training data, a list gives one a class; `gamma` > 0 is the focal loss. The held-out loss is the plain
    cross-entropy, whatever these are, so that it can be compared.
    """

    heads: ClassVar[tuple[str, ...]] = ("tag",)

    weights: Weights = None
    gamma: float = Field(0.0, ge=0)

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Tags(padding(tokenizer))

    def head(self, form: Format) -> BaseConfig | None:
        names = form.classes()
        return None if names is None else tag.Config(labels=len(names))

    def require(self, model: Transformer) -> None:
        require_head(model, "a model must have a head for tokens' classes to tag them", *self.heads)
        require_one_side(model)
        require_weights(model, self.weights)

    def require_classes(self, model: Transformer, form: Format) -> None:
        require_same_classes(model, form)

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed loss over tagged tokens, with the number told right as `accuracy`; the plain one in evaluation."""
        weights = weights_of(self.weights, ground)

        def tags(model: nn.Module, batch: Batch) -> Loss:
            scores, aims = model(batch.ids, batch.layout).flatten(0, 1), batch.targets.flatten()
            remedies = (weights, self.gamma) if model.training else ()
            total = class_cross_entropy(scores, aims, *remedies)
            return Loss(total, batch.count, {"accuracy": float((scores.argmax(-1) == aims).sum())})

        return tags


class Tags(Reading):
    """Documents packed, each token's class as its target."""

    ahead = 0
    every = False

    def spans(self, documents: Documents, context: int, long: Long, named: Named) -> tuple[list[Span], Report]:
        """Pieces with a tag: of a document that is cut one may be the end of a word alone."""
        found, report = super().spans(documents, context, long, named)
        kept = [span for span in found if (Piece(documents, span).tags >= 0).any()]
        return kept, replace(report, empty=len(found) - len(kept))

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        tags = [[np.where(piece.tags < 0, IGNORE, piece.tags) for piece in row] for row in rows]
        ids = self.laid([[piece.ids for piece in row] for row in rows], self.pad)
        return Batch(ids, self.laid(tags, IGNORE), lengths(rows))

    def classes(self, documents: Documents) -> list[int]:
        """Of each document the class it holds that has the fewest tokens in all documents, of two such the first (as an
        image is repeated for its rarest category in Gupta et al. 2019, https://arxiv.org/abs/1908.03195).
        """
        held = [tags[tags >= 0] for tags in map(documents.tags, range(len(documents)))]
        counts = np.bincount(np.concatenate(held))
        return [int(tags[counts[tags].argmin()]) for tags in held]
