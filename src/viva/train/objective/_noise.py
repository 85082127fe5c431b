"""What the objectives share that damage a text and learn to mend it."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from viva.base.errors import Refusal
from viva.model.transformer import Transformer
from viva.text.rows.format import parallel
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Loss, padding, seq2seq, words
from viva.train.reading import Piece, Reading


def special(tokenizer: Tokenizer) -> np.ndarray:
    """Which ids are special tokens, bool [V]: never damaged."""
    found = np.zeros(tokenizer.vocab_size, bool)
    found[list(tokenizer.specials.values())] = True
    return found


def role(tokenizer: Tokenizer, name: str, name_in_recipe: str, token: str | None = None) -> int:
    """The id of `token` or, left out, of the one that the tokenizer's configuration calls `name`."""
    found = token or tokenizer.words.get(name)
    if found is None:
        fix = f"train one with tokenizer.{name_in_recipe}, or name it in tokenizer_config.json"
        raise Refusal(f"a tokenizer must have a {name} for this objective", "none", fix)
    return tokenizer.id(found)


def number(total: int, share: float, random: np.random.Generator, least: int = 1) -> int:
    """So many of `total` that a `share` of them is expected, but `least` of them where there are any."""
    return min(total, max(least, int(total * share + random.random())))


def chosen(open_: np.ndarray, share: float, random: np.random.Generator, least: int = 1) -> np.ndarray:
    """A `share` of the places that are open, bool [n] -> bool [n]."""
    places = np.flatnonzero(open_)
    found = np.zeros_like(open_)
    found[random.permutation(places)[: number(len(places), share, random, least)]] = True
    return found


def require_both_ways(model: Transformer, what: str) -> None:
    """Refuse a model that does not see its text both ways, or writes another."""
    if model.decoder is not None:
        found = "a decoder, which sees only what came before" if model.encoder is None else "an encoder and a decoder"
        fix = "use a family of encoders such as bert, or the objective causal"
        fix = fix if model.encoder is None else "use the objective spans or denoise"
        raise Refusal(f"a model must be an encoder {what}", found, fix)


def require_text(piece: Piece) -> None:
    """Refuse a document of which a part is not to be learned: noise would fall on it all the same."""
    if not piece.mask.all() or (piece.next == IGNORE).any():
        must = "documents must be learned whole for this objective"
        raise Refusal(must, "a format in which a part is only read", "use the format text")


def filled(model: nn.Module, batch: Batch) -> Loss:
    """The cross-entropy of the targets in nats; in evaluation with the number of those guessed right, `accuracy`."""
    hidden = model.hidden(batch.ids, batch.layout)
    total = words(model, hidden, batch.targets)
    if model.training:
        return Loss(total, batch.count, hidden=hidden)
    learned = batch.targets != IGNORE
    right = model.logits(hidden[learned]).argmax(-1) == batch.targets[learned]
    return Loss(total, batch.count, {"accuracy": float(right.sum())})


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


def parts(ids: np.ndarray, special: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The special tokens that ids [n] begin with, the text, and the special tokens at its end."""
    plain = np.flatnonzero(~special[ids])
    first, last = (plain[0], plain[-1] + 1) if len(plain) else (len(ids), len(ids))
    return ids[:first], ids[first:last], ids[last:]
