"""What a model learns from: token ids, and for each whether it is to be learned."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Encoding

from viva.text.tokens.marks import unshield
from viva.text.tokens.tokenizer import Tokenizer

UNTAGGED = -1


@dataclass(frozen=True)
class Draft:
    """A marked text (`text/tokens/marks.py`) and the spans [start, end) of it that are to be learned."""

    text: str
    spans: list[tuple[int, int]]


@dataclass(frozen=True)
class Example:
    """ids and mask are of one length; mask[i] says that token i is to be learned.

    bytes: the size in UTF-8 of the learned text, special tokens left out: the divisor of bits per byte. Of two texts,
    a source and a target or two sentences, `cut` is the length of the first, which comes first. `label` is a class or
    a value for the whole, `tags` a class for each token, UNTAGGED where it has none.
    """

    ids: list[int]
    mask: list[bool]
    bytes: int
    cut: int = 0
    label: float | None = None
    tags: list[int] | None = None


def encode(tokenizer: Tokenizer, drafts: list[Draft]) -> list[Example]:
    """The examples of `drafts`, encoded together.

    A token that reaches over the border of a span holds characters of both sides; it is learned, so that every
    character of a span is. In templates with special tokens at the borders there is no such token.
    """
    encoded = tokenizer.encode_marked([draft.text for draft in drafts])
    size = _sizer(tokenizer)
    return [
        Example(found.ids, _mask(found, draft), sum(size(draft.text[start:end]) for start, end in draft.spans))
        for draft, found in zip(drafts, encoded, strict=True)
    ]


def _mask(found: Encoding, draft: Draft) -> list[bool]:
    if draft.spans in ([], [(0, len(draft.text))]):  # none, or all: the offsets take longer than the encoding
        return [bool(draft.spans)] * len(found.ids)
    return mask(found.offsets, draft.spans)


def mask(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[bool]:
    """For each token's [start, end) of characters, whether it meets one of the spans; both are in order."""
    learned, at = [], 0
    for start, end in offsets:
        while at < len(spans) and spans[at][1] <= start:
            at += 1
        learned.append(at < len(spans) and max(end, start + 1) > spans[at][0])
    return learned


def _sizer(tokenizer: Tokenizer) -> Callable[[str], int]:
    """The UTF-8 size of a piece of marked text without its special tokens."""
    special = re.compile("|".join(map(re.escape, sorted(tokenizer.specials, key=len, reverse=True))) or "(?!)")
    return lambda piece: len(unshield(special.sub("", piece)).encode())
