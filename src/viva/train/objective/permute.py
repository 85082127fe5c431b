"""Permutation LM (XLNet, Yang et al. 2019, https://arxiv.org/abs/1906.08237, sections 2.2 and 2.3): a token is
predicted from those before it in a random order, so that in time every token is predicted from both sides.

The paper's two streams lie in one row: the tokens (h), and behind them, for each that is to be predicted, a query (g)
with the mask token's vector and the token's place. With z the order of a document,

    h_z[t] attends to h_z[s], s <= t        g_z[t] attends to h_z[s], s < t

and no one attends to a query. That is eq. 4 with its weights, which both streams share, and the query's w the vector of
the mask token. Not of the paper: its relative positions and its memory of the segment before; queries alone tell apart
what is asked for, by positions that are absolute or rotary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.mask.given import Given
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Base, Ground, Objective, padding, require_vocabulary
from viva.train.objective._filling import filled, require_both_ways
from viva.train.objective._noise import number, role, special
from viva.train.reading import Piece, Reading


class Config(Base):
    """The last `share` of the order is predicted, one token at least: 1/6 in the paper (K, section 2.3)."""

    share: float = Field(1 / 6, gt=0, le=1)

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Permuted(tokenizer, self)

    def require(self, model: Transformer) -> None:
        require_vocabulary(model)
        require_both_ways(model, "to see what comes before in any order")
        if not model.stacks:
            raise Refusal("a model must attend to read in any order", "none that does", "use a Transformer")
        stack = model.encoder.spec
        schemes = [stack.entry.position, *(block.position for block in stack.blocks)]
        wrong = sorted({kind(scheme) for scheme in schemes if not scheme.by_place} - {"none"})
        if wrong or not any(scheme.by_place for scheme in schemes):
            fix = "use learned, sinusoidal or rope positions, and no others"
            must = "positions must be told by the token's place, for a query stands elsewhere"
            raise Refusal(must, ", ".join(wrong) or "none", fix)

    def asked(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {"masks_seen": False}  # no one attends to a query

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed cross-entropy of the tokens asked for; in evaluation `accuracy` too."""
        return filled


@dataclass(frozen=True)
class Streams:
    """A document's two streams, end to end: all are [n + k].

    `seen`: a token is seen by whom it precedes, seen[key] <= sees[query].
    """

    ids: np.ndarray
    targets: np.ndarray
    positions: np.ndarray
    sees: np.ndarray
    seen: np.ndarray


class Permuted(Reading):
    """Documents packed, each with its queries behind it. Special tokens come first in every order."""

    ahead = 0
    every = False

    def __init__(self, tokenizer: Tokenizer, config: Config):
        super().__init__(padding(tokenizer))
        self.config, self.special, self.mask = config, special(tokenizer), role(tokenizer, "mask_token", "mask")

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        made = [[self._streams(piece, random) for piece in row] for row, random in zip(rows, randoms, strict=True)]
        fills = {"ids": self.pad, "targets": IGNORE, "positions": 0, "sees": -1, "seen": 0}
        laid = {name: self.laid([[getattr(x, name) for x in row] for row in made], f) for name, f in fills.items()}
        mask = Given(laid["seen"][:, None] <= laid["sees"][:, :, None])
        lengths = tuple(tuple(len(streams.ids) for streams in row) for row in made)
        return Batch(laid["ids"], laid["targets"], lengths, mask=mask, positions=laid["positions"])

    def _streams(self, piece: Piece, random: np.random.Generator) -> Streams:
        ids, open_ = piece.ids, piece.mask & ~self.special[piece.ids]
        order = random.permutation(len(ids))
        order = order[np.argsort(open_[order], kind="stable")]
        asked = order[len(ids) - number(int(open_.sum()), self.config.share, random) :]
        return self.told(ids, order, asked)

    def told(self, ids: np.ndarray, order: np.ndarray, asked: np.ndarray) -> Streams:
        """The streams for ids [n] in `order` [n], of which the places `asked` [k] are predicted.

        The t-th of the order is seen from step 2 t on. It sees what is there then, its query what was one step before.
        """
        step = np.empty(len(ids), np.int64)
        step[order] = 2 * np.arange(len(ids))
        nobody = np.full(len(asked), 2 * len(ids))
        return Streams(
            ids=np.concatenate([ids, np.full(len(asked), self.mask)]),
            targets=np.concatenate([np.full(len(ids), IGNORE), ids[asked]]),
            positions=np.concatenate([np.arange(len(ids)), asked]),
            sees=np.concatenate([step, step[asked] - 1]),
            seen=np.concatenate([step, nobody]),
        )
