"""Where in a text the answer to a question stands: which token is its first, and which its last (BERT, Devlin et al.
2019, https://arxiv.org/abs/1810.04805, section 4.2).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.head import span
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format
from viva.text.rows.format.questions import ANSWER
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head, require_one_side
from viva.train.reading import Piece, Reading, lengths


class Config(Base):
    """No fields."""

    heads: ClassVar[tuple[str, ...]] = ("span",)

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Answers(padding(tokenizer))

    def head(self, form: Format) -> BaseConfig | None:
        return span.Config()

    def require(self, model: Transformer) -> None:
        require_head(model, "a model must score where an answer begins and ends to find it", *self.heads)
        require_one_side(model)

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed cross-entropy of first and last tokens, with the number of those told right as `accuracy`."""
        return answers


def answers(model: nn.Module, batch: Batch) -> Loss:
    """The loss in nats: two softmaxes over the places of each document's text."""
    segments = batch.segments if model.tells_segments else None
    scores = places(model(batch.ids, batch.layout, segments=segments), batch)
    right = (scores.argmax(1) == batch.targets).sum()
    return Loss(cross_entropy(scores, batch.targets, reduction="sum"), batch.count, {"accuracy": float(right)})


def places(scores: Tensor, batch: Batch) -> Tensor:
    """scores [1, T, 2] of documents end to end -> [N, the longest, 2], and -inf wherever there is no text."""
    text = scores[0].float().masked_fill(batch.segments[0, :, None] == 0, -torch.inf)
    return pad_sequence(text.split(batch.lengths[0]), batch_first=True, padding_value=-torch.inf)


class Answers(Reading):
    """Documents whole, a question and a text each; the targets [N, 2] are the places of the answer's first and last
    token in the document.
    """

    ahead = 0
    every = False
    whole = True

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        found = [np.flatnonzero(piece.tags == ANSWER) for row in rows for piece in row]
        if not all(map(len, found)) or not all(piece.cut for row in rows for piece in row):
            must = "documents must be a question and a text with its answer"
            raise Refusal(must, "another format", "use the format questions")
        targets = torch.tensor([[places[0], places[-1]] for places in found])
        ids = self.laid([[piece.ids for piece in row] for row in rows], self.pad)
        return Batch(ids, targets, lengths(rows), segments=self.segments(rows))
