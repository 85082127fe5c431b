"""Span corruption (T5, Raffel et al. 2020, https://arxiv.org/abs/1910.10683, sections 3.1.4 and 3.3.4): a sentinel
stands for each span that is left out, and the target is the sentinels, each with the span that it stands for.
"""

import numpy as np
from pydantic import Field

from viva.base.errors import Refusal
from viva.text.tokens.special import SENTINEL, sentinels
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.objective._noise import number
from viva.train.objective._rewriting import Rewriting, Rewritten
from viva.train.reading import Reading


class Config(Rewritten):
    """A `share` of the tokens is left out, in spans of `mean` tokens on average. `sentinel`: the names of the tokens,
    with {} for their number.
    """

    share: float = Field(0.15, gt=0, lt=1)
    mean: float = Field(3.0, ge=1)
    sentinel: str = Field(SENTINEL, pattern=r"^[^{}]*\{\}[^{}]*$")

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Spans(tokenizer, self)


class Spans(Rewriting):
    """Source and target of each piece; where spans lie is drawn for each anew."""

    def __init__(self, tokenizer: Tokenizer, config: Config):
        super().__init__(tokenizer, config)
        self.sentinels = [*sentinels(tokenizer.specials, config.sentinel).values()]
        self.extra += 1  # the sentinel that ends a target
        if not self.sentinels:
            found = f"no token {config.sentinel.replace('{}', '0')}"
            raise Refusal("a tokenizer must have sentinels for spans", found, "train one with tokenizer.sentinels=100")

    def damaged(self, text: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.told(text, spans(len(text), self.config.share, self.config.mean, random))

    def told(self, text: np.ndarray, left_out: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
        """The source and the target for spans [begin, end) of the text; a last sentinel ends the target."""
        if len(left_out) >= len(self.sentinels):
            must = f"a tokenizer must have a sentinel for each of {len(left_out)} spans, and one for the end"
            raise Refusal(must, len(self.sentinels), "raise tokenizer.sentinels, or lower train.context")
        source, target, at = [], [], 0
        for (begin, end), sentinel in zip(left_out, self.sentinels, strict=False):
            source += [*text[at:begin], sentinel]
            target += [sentinel, *text[begin:end]]
            at = end
        return np.array([*source, *text[at:]], np.int64), np.array([*target, self.sentinels[len(left_out)]], np.int64)


def spans(length: int, share: float, mean: float, random: np.random.Generator) -> list[tuple[int, int]]:
    """Spans [begin, end) of a text of `length` tokens, each way as likely in which so many lie apart.

    Their number and lengths are as in T5's code, random_spans_noise_mask. There a text begins with what stays and ends
    with a span: of a window of 512 tokens little is lost, but of a sentence, whose one span would be its end, no gap
    within were learned. So here nothing need stand before the first, and something may stand behind the last.
    """
    if not length:
        return []
    out = min(number(length, share, random), max(1, length - 1))
    count = max(1, min(round(out / mean), length - out))
    goes, stays = parted(out, count, random), parted(length - out + 2, count + 1, random)
    stays[0] -= 1
    ends = np.cumsum(stays[:-1] + goes)
    return list(zip((ends - goes).tolist(), ends.tolist(), strict=True))


def parted(total: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`total` as the sum of `count` positive numbers, each such sum as likely; [count]."""
    cuts = np.sort(random.permutation(max(0, total - 1))[: count - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
