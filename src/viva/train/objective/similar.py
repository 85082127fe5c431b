"""How alike two texts are: the cosine of their vectors learns a value (sentence-BERT, Reimers and Gurevych 2019,
https://arxiv.org/abs/1908.10084, section 3).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.head import embed
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head, require_one_side
from viva.train.objective.pairs import Couples
from viva.train.reading import Piece, Reading


class Config(Base):
    """No fields. The head is `embed`, whose model gives vectors afterwards, or `similar`, which gives the cosines."""

    heads: ClassVar[tuple[str, ...]] = ("embed", "similar")

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Alike(padding(tokenizer))

    def head(self, form: Format) -> BaseConfig | None:
        return embed.Config()

    def require(self, model: Transformer) -> None:
        require_head(model, "a model must give a vector for a text to be compared by it", *self.heads)
        require_one_side(model)

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed squared error of the cosines."""
        return alike


def alike(model: nn.Module, batch: Batch) -> Loss:
    """Of the vectors, or of the cosines that the head `similar` has made of them."""
    found = model(batch.ids, batch.layout)
    cosines = found if found.ndim == 1 else cosine_similarity(found[0::2], found[1::2], dim=-1)
    return Loss((cosines.float() - batch.targets).square().sum(), batch.count)


class Alike(Couples):
    """Each document is two, one behind the other; the target of a pair is its value."""

    least = 1

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        values = torch.tensor([piece.label for row in rows for piece in row])
        if not values.isfinite().all():
            fix = "use the format pairs, and name their field in format.value"
            raise Refusal("documents must have values that say how alike two texts are", "none in the token cache", fix)
        return replace(super().batch(rows, randoms), targets=values)
