"""A document in words, with what of it is learned."""

from collections.abc import Sequence

import numpy as np

from viva.text.preflight.report import LEARNED, NOTE, READ, Piece, Shown
from viva.text.tokens.example import Example
from viva.text.tokens.tokenizer import Tokenizer

MOST = 1500  # tokens that are shown of a document


def document(title: str, found: Example, tokenizer: Tokenizer, aim: str | None = None) -> Shown:
    """The text of a document by what of it is learned, and what is to be told of it (`Format.aim`)."""
    ids, mask, cut = np.asarray(found.ids), np.asarray(found.mask, bool), found.cut
    pieces: list[Piece] = []
    for begin, end, learned in stretches(mask[:MOST], cut):
        if cut and begin == cut:
            pieces.append(Piece("\n-- the second text --\n", NOTE))
        pieces.append(Piece(tokenizer.decode(ids[begin:end].tolist()), LEARNED if learned else READ))
    pieces += rest(len(ids))
    if aim is not None:
        pieces.append(Piece(f"\n-- {aim} --", NOTE))
    return Shown(f"{title}: {len(ids):,} tokens, {int(mask.sum()):,} learned", pieces)


def rest(tokens: int) -> list[Piece]:
    """What is said where a document has more tokens than are shown."""
    return [Piece(f" ... {tokens - MOST:,} more tokens", NOTE)] if tokens > MOST else []


def stretches(mask: Sequence[bool], cut: int = 0) -> list[tuple[int, int, bool]]:
    """(begin, end, value) of each run of equal values, none of which reaches over `cut`.

    >>> stretches([True, True, False])
    [(0, 2, True), (2, 3, False)]
    """
    borders = [i for i in range(1, len(mask)) if mask[i] != mask[i - 1] or i == cut]
    pairs = zip([0, *borders], [*borders, len(mask)], strict=True) if len(mask) else ()
    return [(begin, end, bool(mask[begin])) for begin, end in pairs]
