"""One text from another: translation, summaries. The decoder reads the target's tokens, not its own guesses (teacher
forcing, Williams and Zipser 1989), and predicts the next (Sutskever et al. 2014, https://arxiv.org/abs/1409.3215).
"""

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_vocabulary, words
from viva.train.reading import Piece, Reading


class Config(Base):
    """`smoothing`: the share of each target that is spread over the vocabulary (Szegedy et al. 2016); 0.1 in the
    original Transformer (Vaswani et al. 2017, section 5.4).

    `sampled`: the share of the decoder's inputs that are its own most likely guess in place of the target's token, at
    the end of the run, to which it grows in a line from none (scheduled sampling with linear decay, Bengio et al. 2015,
    https://arxiv.org/abs/1506.03099, section 2.4, in the two passes of Mihaylova and Martins 2019).
    """

    smoothing: float = Field(0.0, ge=0, lt=1)
    sampled: float = Field(0.0, ge=0, lt=1)

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Pairs(padding(tokenizer))

    def require(self, model: Transformer) -> None:
        require_vocabulary(model)
        if model.encoder is None or model.decoder is None:
            found = f"{'a decoder' if model.encoder is None else 'an encoder'} alone"
            raise Refusal("a model must have an encoder and a decoder to turn one text into another", found, "use both")

    def build(self, ground: Ground | None = None) -> Objective:
        """The cross-entropy of the target's tokens in nats, unsmoothed and by its own tokens in evaluation."""

        def seq2seq(model: nn.Module, batch: Batch) -> Loss:
            memory = model.encode(batch.source.ids, batch.source.layout)
            ids = batch.ids
            if self.sampled and model.training:
                with torch.no_grad():
                    guesses = model(ids, batch.layout, memory=memory).argmax(-1)
                ids = mixed(ids, guesses, batch.layout.positions, self.sampled * batch.done)
            hidden = model.hidden(ids, batch.layout, memory=memory)
            loss = words(model, hidden, batch.targets, self.smoothing if model.training else 0.0)
            return Loss(loss, batch.count, hidden=hidden)

        return seq2seq


def mixed(ids: Tensor, guesses: Tensor, positions: Tensor, share: float) -> Tensor:
    """ids [B, T] with a `share` of them replaced by what was guessed one place before; a first token stays."""
    before = guesses.roll(1, 1)
    chosen = (torch.rand(ids.shape, device=ids.device) < share) & (positions > 0)
    return torch.where(chosen, before, ids)


class Pairs(Reading):
    """A document is the source and behind it the target, whose last token is only predicted."""

    whole = True

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        if not all(piece.cut and piece.mask.any() for row in rows for piece in row):
            must = "documents must be a source and a target that is learned, to turn the one into the other"
            raise Refusal(must, "another format", "use the format parallel")
        source = self.source([[piece.ids[: piece.cut] for piece in row] for row in rows])
        read = [[piece.ids[piece.cut :] for piece in row] for row in rows]
        targets = self.laid([[piece.next[piece.cut :] for piece in row] for row in rows], IGNORE)
        return Batch(self.laid(read, self.pad), targets, tuple(tuple(map(len, row)) for row in read), source)
