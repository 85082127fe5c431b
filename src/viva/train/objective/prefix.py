"""Prefix LM (Liu et al. 2018; Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.2): a prefix is read both
ways, and what follows it is predicted left to right.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.mask.causal import Causal
from viva.model.mask.given import Given
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Base, Ground, Objective, causal, padding, require_end
from viva.train.reading import Piece, Reading, lengths


class Config(Base):
    """The prefix of a document has any length, of one token to all that are read. `smoothing`: the share of each target
    that is spread over the vocabulary (Szegedy et al. 2016).
    """

    smoothing: float = Field(0.0, ge=0, lt=1)

    def require(self, model: Transformer) -> None:
        super().require(model)
        attentions = [block.attention for stack in model.stacks for block in stack.spec.of_layers]
        if any(attention is not None and kind(attention.score) == "linear" for attention in attentions):
            must, found = (
                "a model must keep keys to go on from a prefix that is seen both ways",
                "sums of linear attention",
            )
            raise Refusal(must, found, "use another score, or the objective causal")

    def reading(self, tokenizer: Tokenizer) -> Reading:
        require_end(tokenizer)
        return Prefixed(padding(tokenizer))

    def build(self, ground: Ground | None = None) -> Objective:
        """The cross-entropy of what follows the prefix, as in causal."""
        return causal.Config(smoothing=self.smoothing).build(ground)


class Prefixed(Reading):
    """Documents packed; a token sees its document's prefix, and what came before it. The last token of the prefix
    predicts the first one behind it.
    """

    every = False

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        cut = [
            [(piece, np.arange(n := piece.span.length), 1 + random.integers(n)) for piece in row]
            for row, random in zip(rows, randoms, strict=True)
        ]
        ids = self.laid([[piece.ids for piece in row] for row in rows], self.pad)
        targets = [[np.where(places >= length - 1, piece.next, IGNORE) for piece, places, length in row] for row in cut]
        prefix = self.laid([[places < length for _, places, length in row] for row in cut], False).bool()
        sight = prefix[:, None].expand(-1, ids.shape[1], -1)  # whoever looks sees the prefix
        return Batch(ids, self.laid(targets, IGNORE), lengths(rows), mask=Causal() | Given(sight))
