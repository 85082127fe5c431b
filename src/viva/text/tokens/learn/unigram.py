"""Unigram (Kudo 2018), in the form of sentencepiece: pieces have probabilities; the most probable split is taken.

The pieces are learned by expectation maximisation, and pruned by what the text's likelihood loses without them.
"""

import json
from collections.abc import Iterable

import tokenizers
from pydantic import Field
from tokenizers import models, pre_tokenizers, trainers

from viva.text.tokens.learn import _characters
from viva.text.tokens.learn._characters import Bytes
from viva.text.tokens.learn._learner import UNKNOWN
from viva.text.tokens.learn._words import RULE, Rule, Words

STEP = 1e-4  # by which the trainer sets apart the scores of characters that no best split needs
DIGITS = 6  # of a score; the last ones hang on the order in which a sum was taken


class Config(Bytes, Words):
    """A "▁" in a text comes back as a space.

    The trainer takes its sums in an order that differs from process to process. Scores are rounded, so that it seldom
    shows; but where two pieces are worth the same to the last digit, which of them is pruned is not determined.
    """

    words: Rule = Field("whitespace", description=RULE)
    longest: int = Field(16, gt=0, description="characters of a piece, at most")

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        alphabet, fixed = self.alphabet(texts), [*self.specials, *self.byte_tokens]
        letters, room = self._letters(alphabet), self.vocab_size - len(fixed)
        core = tokenizers.Tokenizer(models.Unigram())
        core.pre_tokenizer = pre_tokenizers.Sequence([*self.cut, _characters.metaspace()])
        trainer = trainers.UnigramTrainer(
            vocab_size=max(room, len(letters) + 1),  # with no more than its letters it takes every piece, or none
            initial_alphabet=sorted(letters),
            max_piece_length=self.longest,
            show_progress=False,
        )
        core.train_from_iterator(_characters.known(texts, alphabet), trainer)
        pieces = _best(_ordered(core), letters, room)
        vocab = [*_unspelled(fixed, pieces), *pieces]
        made = tokenizers.Tokenizer(models.Unigram(vocab, fixed.index(UNKNOWN), self.byte_fallback))
        made.pre_tokenizer, made.decoder = core.pre_tokenizer, _characters.joined()
        return made

    def taken(self, kept: list[str]) -> int:
        return len(self._letters(kept))

    def _letters(self, alphabet: list[str]) -> set[str]:
        """The characters that are pieces whatever is learned: those of the texts, and those by which the names of
        special tokens and bytes are spelled where a text has them.
        """
        return set("".join([*alphabet, *self.specials, *self.byte_tokens]).replace(" ", _characters.SPACE))


def _best(pieces: list[tuple[str, float]], letters: set[str], room: int) -> list[tuple[str, float]]:
    """The first of the ordered pieces for which there is room, all letters among them."""
    others = [piece for piece, _ in pieces if piece not in letters]
    kept = letters.union(others[: room - len(letters)])
    return [(piece, score) for piece, score in pieces if piece in kept]


def _ordered(core: tokenizers.Tokenizer) -> list[tuple[str, float]]:
    """The pieces with their scores, log probabilities, whatever the order of the trainer's hashes.

    A character that the text needs but no best split has the lowest score and a step for each such one before it.
    """
    pieces = dict(map(tuple, json.loads(core.to_str())["model"]["vocab"]))
    lowest = min(pieces.values())
    steps = {piece: (score - lowest) / STEP for piece, score in pieces.items() if len(piece) == 1}
    idle = sorted(piece for piece, step in steps.items() if abs(step - round(step)) < STEP and step < len(steps))
    pieces |= {piece: lowest + STEP * place for place, piece in enumerate(idle)}
    return sorted(
        ((piece, round(score, DIGITS)) for piece, score in pieces.items()), key=lambda each: (-each[1], each[0])
    )


def _unspelled(fixed: list[str], pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Special tokens and bytes with a score so low that a text with their names in it is split into pieces instead."""
    longest = max(map(len, fixed))
    return [(token, longest * pieces[-1][1] - 10) for token in fixed]
