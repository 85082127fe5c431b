"""Fill in the middle (Bavarian et al. 2022, https://arxiv.org/abs/2207.14255): a decoder reads what stands before and
behind a gap, and goes on with what is in it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from viva.base.errors import Refusal
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import causal, padding, require_end
from viva.train.objective._noise import parts, require_text, special
from viva.train.reading import Piece, Reading

PARTS = ("prefix", "suffix", "middle")


class Config(causal.Config):
    """A `share` of the documents is cut at two random tokens into prefix, middle and suffix; the others stay. `spm` of
    those put the suffix first (section 3), so that prefix and middle are one. `prefix`, `suffix`, `middle` name the
    tokens that stand before them; left out, they are the tokenizer's `prefix_token` and so on. Every token is learned.
    """

    share: float = Field(0.5, gt=0, le=1)
    spm: float = Field(0.5, ge=0, le=1)
    prefix: str | None = None
    suffix: str | None = None
    middle: str | None = None

    def asked(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {"gap": self.named(tokenizer)}

    def named(self, tokenizer: Tokenizer) -> dict[str, str]:
        """The tokens that stand before prefix, suffix and middle; refused where nothing names one."""
        found = {part: getattr(self, part) or tokenizer.words.get(f"{part}_token") for part in PARTS}
        if lacking := [part for part in PARTS if not found[part]]:
            must = f"a tokenizer must have a {lacking[0]}_token for this objective"
            fix = "train one with tokenizer.gap, name it in tokenizer_config.json, or give the names of all three"
            raise Refusal(must, "none", f"{fix}, {', '.join(PARTS)}: in `objective`, or as gap={{...}} of infill")
        return found

    def reading(self, tokenizer: Tokenizer) -> Reading:
        require_end(tokenizer)
        return Infill(tokenizer, self)


class Infill(Reading):
    """Documents packed, some with the middle at their end; special tokens at their ends stay there."""

    every = False
    extra = 3

    def __init__(self, tokenizer: Tokenizer, config: Config):
        super().__init__(padding(tokenizer))
        self.config, self.special = config, special(tokenizer)
        self.before = [[tokenizer.id(token)] for token in config.named(tokenizer).values()]

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        made = [[self._turned(piece, random) for piece in row] for row, random in zip(rows, randoms, strict=True)]
        ids, targets = [[x[:-1] for x in row] for row in made], [[x[1:] for x in row] for row in made]
        lengths = tuple(tuple(map(len, row)) for row in ids)
        return Batch(self.laid(ids, self.pad), self.laid(targets, IGNORE), lengths)

    def _turned(self, piece: Piece, random: np.random.Generator) -> np.ndarray:
        require_text(piece)
        ids = np.append(piece.ids, piece.next[-1])
        first, text, last = parts(ids, self.special)
        if random.random() >= self.config.share:
            return ids
        begin, end = np.sort(random.integers(len(text) + 1, size=2))
        turned = self.told(text[:begin], text[begin:end], text[end:], random.random() < self.config.spm)
        return np.concatenate([first, turned, last])

    def told(self, prefix: Sequence[int], middle: Sequence[int], suffix: Sequence[int], spm: bool) -> np.ndarray:
        """PSM: <prefix> p <suffix> s <middle> m; SPM: <prefix> <suffix> s <middle> p m (the paper's appendix D)."""
        p, s, m = self.before
        laid = [p, s, suffix, m, prefix, middle] if spm else [p, prefix, s, suffix, m, middle]
        return np.concatenate(laid).astype(np.int64)
