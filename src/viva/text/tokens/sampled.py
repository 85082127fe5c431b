"""Subword regularisation: a text is split at random, so that a model sees more than one split of a word.

For training alone, and off unless asked for. A token cache is built once, so each `Sampled` of another seed makes one
of its own: `documents.build(corpus, form, Sampled(tokenizer, seed), folder)`, for as many seeds as there shall be
splits.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from math import exp, inf, log
from random import Random

import tokenizers

from viva.base.errors import Refusal
from viva.base.seed import stream
from viva.text.tokens.byte_level import BYTES
from viva.text.tokens.fingerprint import Fingerprint, digest
from viva.text.tokens.tokenizer import Tokenizer

Split = Callable[[str, Random], list[str]]  # the tokens of a word, drawn


@dataclass(frozen=True)
class Drawn:
    """What `text/tokens/example.py` takes from an encoding."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Sampled(Tokenizer):
    """`plain`, but that marked texts, which documents are made of, are split at random: a function of seed and text.

    rate: of byte-pair encoding the probability that a merge is passed over (BPE-dropout, Provilkov et al. 2020,
    algorithm 1; 0.1 there), of Unigram the exponent of a split's probability (Kudo 2018, section 3.3; 0.1 to 0.5 there,
    and the greater, the more often the most probable split). Other models have no splits to draw from, and are refused.
    """

    def __init__(self, plain: Tokenizer, seed: int, rate: float = 0.1):
        super().__init__(tokenizers.Tokenizer.from_str(plain.core.to_str()), plain.config)
        if not 0 < rate <= 1:
            raise Refusal("the rate of sampling must be above 0 and at most 1", rate, "0.1 is usual")
        self.seed, self.rate = seed, rate
        model = json.loads(plain.core.to_str())["model"]
        self._split = _split(model, rate)
        of_bytes = map(self.core.token_to_id, BYTES if model.get("byte_fallback") else ())
        unknown = model.get("unk_id"), self.core.token_to_id(model.get("unk_token") or "")
        self._whole = {*self.core.get_added_tokens_decoder(), *of_bytes, *unknown}  # what is not split

    def encode_marked(self, texts: list[str]) -> list[Drawn]:
        found = super().marked_encodings(texts)
        return [self._drawn(text, encoding) for text, encoding in zip(texts, found, strict=True)]

    def sample(self, text: str) -> list[int]:
        """The ids of a person's text, split at random."""
        return self.encode_marked([self.shield(text)])[0].ids

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Another than the plain one's, so that no cache of the one is read as the other's."""
        plain = super().fingerprint
        return plain.model_copy(update={"merges": digest([plain.merges, self.seed, self.rate])})

    def _drawn(self, text: str, encoding: tokenizers.Encoding) -> Drawn:
        """Each word split anew, or each part of it between bytes. A token lies where the tokens lie that it was cut out
        of: a text that is learned in part is learned in the same part.
        """
        draw, ids, offsets = stream(self.seed, text), [], []
        lying = zip(encoding.word_ids, encoding.tokens, encoding.ids, encoding.offsets, strict=True)
        for (_, whole), group in groupby(lying, lambda each: (each[0], each[2] in self._whole)):
            _, tokens, old, places = zip(*group, strict=True)
            new = list(tokens) if whole else self._split("".join(tokens), draw)
            numbers = old if whole else [self.core.token_to_id(token) for token in new]
            ids += numbers
            offsets += _cut(new, tokens, places)
        return Drawn(ids, offsets)


def _cut(new: Sequence[str], old: Sequence[str], offsets: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where each new token lies: from the begin of the old one that it begins in, to the end of the one it ends in."""
    within = [place for place, token in enumerate(old) for _ in token]
    at = 0
    for token in new:
        yield offsets[within[at]][0], offsets[within[at + len(token) - 1]][1]
        at += len(token)


def _split(model: dict, rate: float) -> Split:
    if model["type"] == "BPE" and not model["continuing_subword_prefix"]:
        ranks, suffix = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}, model["end_of_word_suffix"]
        return lambda word, draw: dropped_out(word, ranks, rate, draw, suffix or "")
    if model["type"] == "Unigram":
        scores = {piece: score * rate for piece, score in model["vocab"]}
        longest = max(map(len, scores))
        return lambda word, draw: backward_sampled(word, scores, longest, draw)
    fix = "use one of byte-pair encoding or Unigram, or train on the plain tokenizer"
    found = "BPE with a mark in front of what goes on a word" if model["type"] == "BPE" else model["type"]
    raise Refusal("a tokenizer must have more than one split of a word to draw from", found, fix)


def dropped_out(word: str, ranks: dict[tuple[str, str], int], rate: float, draw: Random, suffix: str = "") -> list[str]:
    """Byte-pair encoding in which each possible merge is passed over with probability `rate`, at every step anew. The
    `suffix` that marks a word's end is of one symbol with its last character.
    """
    letters = word.removesuffix(suffix)
    symbols = [*letters[:-1], letters[-1:] + word[len(letters) :]]
    while True:
        possible = [(ranks[pair], at) for at, pair in enumerate(pairwise(symbols)) if pair in ranks]
        kept = [merge for merge in possible if draw.random() >= rate]
        if not kept:
            return symbols
        _, at = min(kept)
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


def backward_sampled(word: str, scores: dict[str, float], longest: int, draw: Random) -> list[str]:
    """A split of the word with a probability proportional to the product of its pieces' (exp of their scores): sums
    from the left, then pieces drawn from the right. All of it in logarithms: a long word's probability is below the
    least number there is.
    """
    ways = [0.0] + [-inf] * len(word)  # the sum over all splits of what is to the left
    ending: list[list[tuple[float, int]]] = [[] for _ in ways]  # by end: weight and begin of each piece
    for end in range(1, len(word) + 1):
        for begin in range(max(0, end - longest), end):
            if (score := scores.get(word[begin:end])) is not None and ways[begin] > -inf:
                ending[end].append((ways[begin] + score, begin))
        if ending[end]:
            greatest = max(weight for weight, _ in ending[end])
            ways[end] = greatest + log(sum(exp(weight - greatest) for weight, _ in ending[end]))
    pieces, end = [], len(word)
    while end:
        weights, begins = zip(*ending[end], strict=True)
        (begin,) = draw.choices(begins, [exp(weight - ways[end]) for weight in weights])
        pieces.append(word[begin:end])
        end = begin
    return pieces[::-1]
