"""The whole text from a damaged one (BART, Lewis et al. 2020, https://arxiv.org/abs/1910.13461, section 2.2)."""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from viva.base.errors import Refusal
from viva.text.tokens.tokenizer import Tokenizer
from viva.text.tokens.words import ends_with
from viva.train.objective._noise import chosen, number, role
from viva.train.objective._rewriting import Rewriting, Rewritten
from viva.train.reading import Reading

STOPS = (".", "!", "?", "。", "！", "？", "…")  # what a sentence ends with


class Config(Rewritten):
    """What is done to a text, in this order; the values left out are those of BART as published (section 5.1).

    `permute` puts its sentences in any order; they end with the token that a full stop, or a question or exclamation
    mark, ends with. `rotate` lets it begin at any token. `infill` is the share of tokens in spans of which each
    becomes one mask token; their lengths are Poisson(`mean`), and one of length 0 puts a mask between two tokens.
    `mask` is the share of tokens that become a mask each, `delete` of those that are left out.
    """

    permute: bool = True
    rotate: bool = False
    infill: float = Field(0.3, ge=0, lt=1)
    mean: float = Field(3.0, ge=0.1, le=1e6)
    mask: float = Field(0.0, ge=0, lt=1)
    delete: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.permute or self.rotate or self.infill or self.mask or self.delete):
            raise Refusal("a text must be damaged to be mended", "no noise at all", "set infill to for example 0.3")
        return self

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Denoise(tokenizer, self)


class Denoise(Rewriting):
    """The damaged text as the source, the text as the target."""

    def __init__(self, tokenizer: Tokenizer, config: Config):
        super().__init__(tokenizer, config)
        self.mask = role(tokenizer, "mask_token", "mask") if config.infill or config.mask else None
        self.stops = ends_with(tokenizer, STOPS)

    def damaged(self, text: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        how, source = self.config, text
        if how.permute:
            source = permuted(source, self.stops(source), random)
        if how.rotate:
            source = rotated(source, random)
        if how.infill:
            source = infilled(source, how.infill, how.mean, self.mask, random)
        if how.mask:
            source = np.where(chosen(np.ones(len(source), bool), how.mask, random), self.mask, source)
        if how.delete:
            source = deleted(source, how.delete, random)
        return source, text


def permuted(text: np.ndarray, stops: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The sentences of text [n], each up to a token that `stops` it, in any order."""
    sentences = np.split(text, np.flatnonzero(stops[:-1]) + 1)
    return np.concatenate([sentences[i] for i in random.permutation(len(sentences))])


def rotated(text: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Text that begins at any token, and goes on from its beginning."""
    return np.roll(text, -random.integers(len(text))) if len(text) else text


def infilled(text: np.ndarray, share: float, mean: float, mask: int, random: np.random.Generator) -> np.ndarray:
    """Text in which spans that hold a `share` of the tokens are a mask each; every way to lay them is as likely.

    There are at most as many spans as tokens in them, so that what is read is never longer than the text.
    """
    covered = number(len(text), share, random)
    lengths = poisson(covered, mean, random)
    while len(lengths) > covered:
        lengths.remove(0)
    kept = len(text) - sum(lengths)
    items = np.ones(kept + len(lengths), np.int64)  # how many tokens each stands for: one that is kept, or a span
    masks = np.sort(random.permutation(len(items))[: len(lengths)])
    items[masks] = lengths
    out = np.empty(len(items), np.int64)
    starts = np.cumsum(items) - items
    kept_items = np.setdiff1d(np.arange(len(items)), masks)
    out[kept_items], out[masks] = text[starts[kept_items]], mask
    return out


def poisson(total: int, mean: float, random: np.random.Generator) -> list[int]:
    """Numbers drawn from Poisson(mean), the last cut short, that sum to `total`."""
    found: list[int] = []
    while total:
        found.append(min(int(random.poisson(mean)), total))
        total -= found[-1]
    return found


def deleted(text: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Text without a `share` of its tokens, in order; one at least stays."""
    gone = chosen(np.ones(len(text), bool), share, random)
    return text[:1] if gone.all() else text[~gone]
