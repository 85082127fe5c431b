"""Texts that belong together, told from those of the other pairs in the batch (in-batch negatives; Gutmann and
Hyvarinen 2010; van den Oord et al. 2018, https://arxiv.org/abs/1807.03748, eq. 4; Karpukhin et al. 2020).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.head import embed
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss.class_loss import class_cross_entropy
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head, require_one_side
from viva.train.reading import Piece, Reading


class Config(Base):
    """Scores are dot products over `temperature`. `both` ways: the second of a pair is also to find its first."""

    heads: ClassVar[tuple[str, ...]] = ("embed",)
    over_batch: ClassVar[bool] = True

    temperature: float = Field(0.05, gt=0)
    both: bool = True

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Couples(padding(tokenizer))

    def head(self, form: Format) -> BaseConfig | None:
        return embed.Config()

    def require(self, model: Transformer) -> None:
        require_head(model, "a model must give a vector for a text to be found by it", *self.heads)
        require_one_side(model)

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed cross-entropy of finding each text's partner; `accuracy` counts the first texts that do."""

        def pairs(model: nn.Module, batch: Batch) -> Loss:
            vectors = model(batch.ids, batch.layout)
            scores = vectors[0::2] @ vectors[1::2].T / self.temperature  # [N, N], the partner on the diagonal
            total = class_cross_entropy(scores, batch.targets)
            if self.both:
                total = (total + class_cross_entropy(scores.T, batch.targets)) / 2
            return Loss(total, batch.count, {"accuracy": float((scores.argmax(-1) == batch.targets).sum())})

        return pairs


class Couples(Reading):
    """Each document is two, one behind the other; the target of a pair is its number. One pair alone teaches nothing,
    so a batch has two at least.
    """

    ahead = 0
    every = False
    whole = True
    least = 2

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        if any(not piece.cut or piece.mask.any() for row in rows for piece in row):
            must = "documents must be two texts that are read whole, to be found by each other"
            raise Refusal(must, "another format", "use the format pairs")
        parts = [[part for piece in row for part in (piece.ids[: piece.cut], piece.ids[piece.cut :])] for row in rows]
        count = sum(len(row) // 2 for row in parts)
        lengths = tuple(tuple(map(len, row)) for row in parts)
        return Batch(self.laid(parts, self.pad), torch.arange(count), lengths)
