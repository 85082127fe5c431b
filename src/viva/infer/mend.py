"""Damaged texts made whole by a model with an encoder and a decoder, as it learned by the objective `spans` (T5, Raffel
et al. 2020, https://arxiv.org/abs/1910.10683, section 3.1.4) or `denoise` (BART, Lewis et al. 2020,
https://arxiv.org/abs/1910.13461, section 2.2).

What is missing is marked as in training: each span by its own sentinel, and the decoder writes each sentinel with the
span that it stands for; or by mask tokens, and the decoder writes the whole text.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from viva.base.errors import Notice, Refusal
from viva.infer.spelled import encode_gaps, pieces, tell_spelled
from viva.text.tokens import special
from viva.text.tokens.characters import require_whole
from viva.text.tokens.tokenizer import Tokenizer

KNOWN = ("<mask>", "[MASK]", "<|mask|>", special.SENTINEL.format(0))  # gaps as families of models write them


@dataclass(frozen=True)
class Mending:
    """How texts are read and made whole: by the `mask` token, if there is one, and the `sentinels` with their ids."""

    tokenizer: Tokenizer
    mask: str | None
    sentinels: dict[str, int]

    def read(self, texts: list[str]) -> list[list[int]]:
        """The ids of damaged texts, in which masks and sentinels count and no other special token does."""
        gaps = [*self.sentinels, *([] if self.mask is None else [self.mask])]
        tell_spelled(self.tokenizer, texts, gaps)
        for text in texts:
            self._require_gaps(text, [piece for piece in pieces(require_whole(text), gaps) if piece in self.sentinels])
        self._tell_unread([text for text in texts if not any(gap in text for gap in gaps)])
        return [encode_gaps(self.tokenizer, text, gaps) for text in texts]

    def framed(self, damaged: list[list[int]]) -> list[list[int]]:
        """What the encoder reads: each text between the tokens that frame a source, as in training."""
        before, after = self.tokenizer.around_source
        return [[*before, *ids, *after] for ids in damaged]

    def whole(self, damaged: list[list[int]], replies: list[list[int]]) -> list[str]:
        """Each text as the reply mends it: spans in place of their sentinels or, without sentinels, the reply itself.

        What a reply has before its first sentinel, or behind one that the text has not, is no part of it, nor is a
        begin token, as BART writes one. A Notice counts sentinels that no reply has; they stay in the text.
        """
        before, _ = self.tokenizer.around_source
        mended, asked, left = [], 0, 0
        for ids, reply in zip(damaged, replies, strict=True):
            told, gaps = spans(reply, self.sentinels.values()), [id for id in ids if id in self.sentinels.values()]
            filled = [token for id in ids for token in told.get(id, [id])]
            mended.append(filled if gaps else _behind(before, reply))
            asked, left = asked + len(gaps), left + sum(gap not in told for gap in gaps)
        if left:
            said = f"the model wrote nothing for {left} of {asked} sentinels, which stay in the text"
            warnings.warn(Notice(said), stacklevel=3)
        return [self.tokenizer.decode(ids) for ids in mended]

    def _require_gaps(self, text: str, found: list[str]) -> None:
        """Refuse sentinels in another order than the model learned, and a text that it cannot mend without any."""
        known = list(self.sentinels)
        if found != known[: len(found)]:
            must = "the sentinels of a text must stand in their order, each once"
            raise Refusal(must, " ".join(found), f"write {known[0]} for what is missing first, and so on")
        if not found and self.mask is None:
            must = f"a text must have a sentinel in place of each span that is missing, {known[0]} for the first"
            raise Refusal(must, repr(text)[:80], "put it there")

    def _tell_unread(self, texts: list[str]) -> None:
        """Say which gaps of other models texts without any of this one's spell."""
        spelled = [name for name in KNOWN if any(name in text for text in texts)]
        if other := [name for name in spelled if name not in self.tokenizer.specials]:
            said = f"{', '.join(other)} in a text is read as its characters: this model's mask token is {self.mask}"
            warnings.warn(Notice(said), stacklevel=4)


def mending(tokenizer: Tokenizer, sentinel: str) -> Mending:
    """How texts are mended by this tokenizer, whose sentinels have the name `sentinel`, with {} for their number."""
    if not isinstance(sentinel, str) or sentinel.count("{}") != 1:
        fix = f'write for example "{special.SENTINEL}"'
        raise Refusal("the name of sentinels must have {} once, for their number", f"{sentinel!r:.80}", fix)
    mask, sentinels = _gaps(tokenizer, sentinel)
    if mask is None and not sentinels:
        must = (
            f"a tokenizer must have sentinels, {sentinel.replace('{}', '0')} the first, or a mask token to mend texts"
        )
        fix = 'give sentinel="..." as it was trained with, or set "mask_token" in tokenizer_config.json'
        raise Refusal(must, "neither", fix)
    return Mending(tokenizer, mask, sentinels)


def has_gaps(tokenizer: Tokenizer) -> bool:
    """Whether it has a mask token, or sentinels of the usual name, by which `mend` is told what is missing."""
    return any(_gaps(tokenizer, special.SENTINEL))


def _gaps(tokenizer: Tokenizer, sentinel: str) -> tuple[str | None, dict[str, int]]:
    return tokenizer.words.get("mask_token"), special.sentinels(tokenizer.specials, sentinel)


def _behind(before: list[int], reply: list[int]) -> list[int]:
    """The reply without `before`, where it begins so."""
    return reply[len(before) :] if reply[: len(before)] == before else reply


def spans(reply: list[int], sentinels: Iterable[int]) -> dict[int, list[int]]:
    """The span behind each sentinel of a reply; of one that is written twice the first counts.

    >>> spans([9, 1, 2, 8, 3, 7], [9, 8, 7])
    {9: [1, 2], 8: [3], 7: []}
    """
    found: dict[int, list[int]] = {}
    span: list[int] = []
    for token in reply:
        if token in sentinels:
            span = []
            found.setdefault(token, span)
        else:
            span.append(token)
    return found
