"""Masked words, guessed from what stands around them (BERT, Devlin et al. 2019, https://arxiv.org/abs/1810.04805,
section 3.1), drawn anew each time a document is read (RoBERTa, Liu et al. 2019, section 4.1).
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from viva.base.errors import Refusal
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.text.tokens.words import borders
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Base, Ground, Objective, padding, require_vocabulary
from viva.train.objective._filling import filled, require_both_ways
from viva.train.objective._noise import chosen, role, special
from viva.train.reading import Piece, Reading, lengths


class Config(Base):
    """A `share` of a document's tokens, one at least, is to be guessed. In place of `masked` of them stands the mask
    token, of `random` any token; the others stay, so that every state must hold its token. With `whole_words` the
    tokens of a word are chosen together, of one word at least, and the share is met on average; that changes nothing in
    Chinese where each character is a token, as in BERT's vocabulary, for there a character is a word.
    """

    share: float = Field(0.15, gt=0, le=1)
    masked: float = Field(0.8, ge=0, le=1)
    random: float = Field(0.1, ge=0, le=1)
    whole_words: bool = False

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.masked + self.random > 1:
            found = f"{self.masked} + {self.random}"
            raise Refusal(
                "masked and random must be shares of the chosen tokens, at most 1 together", found, "lower one"
            )
        return self

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Masked(tokenizer, self)

    def require(self, model: Transformer) -> None:
        require_vocabulary(model)
        require_both_ways(model, "to guess masked words from both sides")

    def asked(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {"masks_seen": True}

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed cross-entropy of the chosen tokens; in evaluation `accuracy` too."""
        return filled


class Masked(Reading):
    """Documents packed, some tokens of each changed; the targets are what the chosen ones were."""

    ahead = 0
    every = False

    def __init__(self, tokenizer: Tokenizer, config: Config):
        super().__init__(padding(tokenizer))
        self.config, self.mask = config, role(tokenizer, "mask_token", "mask")
        self.special = special(tokenizer)
        self.plain = np.flatnonzero(~self.special)
        self.borders = borders(tokenizer) if config.whole_words else None

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        made = [[self._damaged(piece, random) for piece in row] for row, random in zip(rows, randoms, strict=True)]
        ids, targets = ([[piece[part] for piece in row] for row in made] for part in (0, 1))
        return Batch(self.laid(ids, self.pad), self.laid(targets, IGNORE), lengths(rows))

    def _damaged(self, piece: Piece, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        ids, open_ = piece.ids, piece.mask & ~self.special[piece.ids]
        if self.borders is None:
            picked = chosen(open_, self.config.share, random)
        else:
            picked = words_chosen(open_, self.borders(ids), self.config.share, random)
        return self.replaced(ids, picked, random), np.where(picked, ids, IGNORE)

    def replaced(self, ids: np.ndarray, picked: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """ids [n] with the picked ones masked, replaced by any token, or left."""
        draw, any_ = random.random(len(ids)), random.choice(self.plain, len(ids))
        masks = picked & (draw < self.config.masked)
        others = picked & ~masks & (draw < self.config.masked + self.config.random)
        return np.where(masks, self.mask, np.where(others, any_, ids))


def words_chosen(open_: np.ndarray, begins: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Words all of whose tokens are open, in random order until they hold the `share` of the open tokens; bool [n].

    The word that goes beyond it is kept with the probability by which the share is met on average; in BERT's code such
    a word is passed over, so that long ones are asked for less. Where none is kept, a shortest one is.
    """
    word = np.cumsum(begins)
    sizes, closed = np.bincount(word), np.bincount(word, ~open_)
    order = random.permutation(np.flatnonzero((sizes > 0) & (closed == 0)))
    sizes = sizes[order]
    room = share * open_.sum() - (np.cumsum(sizes) - sizes)
    kept = room > random.random() * sizes
    if len(order) and not kept.any():
        kept[sizes.argmin()] = True
    return np.isin(word, order[kept])
