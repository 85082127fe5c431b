"""An encoder that reads a damaged text and a decoder that writes what was damaged."""

from collections.abc import Sequence

import numpy as np

from viva.text.rows.format import parallel
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import padding, seq2seq
from viva.train.objective._noise import parts, require_text, special
from viva.train.reading import Piece, Reading


class Rewritten(seq2seq.Config):
    """`start`: the token that what the decoder writes begins with; left out, that of the model or of the tokenizer."""

    start: str | None = None


class Rewriting(Reading):
    """The base for an encoder that reads a damaged text and a decoder that writes what was damaged.

    The pieces of a batch lie end to end in one row. In place of the special tokens at a piece's ends stand, around what
    is read and what is written, those that frame a source and its target in the format parallel.
    """

    ahead = 0
    every = False

    def __init__(self, tokenizer: Tokenizer, config: Rewritten):
        super().__init__(padding(tokenizer))
        self.config, self.special = config, special(tokenizer)
        self.start = parallel.begin(tokenizer, config.start)
        self.around = [np.array(side, np.int64) for side in tokenizer.around_source]
        self.extra = sum(map(len, self.around))

    def damaged(self, text: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What the encoder reads in place of `text`, and what the decoder writes."""
        raise NotImplementedError

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        sources, targets, (before, after) = [], [], self.around
        for row, random in zip(rows, randoms, strict=True):
            for piece in row:
                require_text(piece)
                source, target = self.damaged(parts(piece.ids, self.special)[1], random)
                sources.append(np.concatenate([before, source, after]))
                targets.append(np.concatenate([[self.start], before, target, after]))
        read, aims = [target[:-1] for target in targets], [target[1:] for target in targets]
        lengths = (tuple(map(len, read)),)
        return Batch(self.laid([read], self.pad), self.laid([aims], IGNORE), lengths, self.source([sources]))
