"""Special tokens that a person's text spells. They are its characters and nothing else, but for those that mark a gap,
in a call that fills gaps.
"""

import re
import warnings
from collections.abc import Collection, Iterable

from viva.base.errors import Notice
from viva.text.tokens.marks import BREAK
from viva.text.tokens.tokenizer import Tokenizer


def encode_gaps(tokenizer: Tokenizer, text: str, gaps: Collection[str]) -> list[int]:
    """The ids of `text`, in which of all special tokens those of `gaps` alone count."""
    parts = [part if part in gaps else until_gap(tokenizer, part) for part in pieces(text, gaps)]
    [found] = tokenizer.encode_marked(["".join(parts)])
    return found.ids


def until_gap(tokenizer: Tokenizer, text: str) -> str:
    """What a person wrote before a gap, to stand in a marked text.

    A token that takes in the space before it takes all there is. As viva trains, it stands for a token with one space
    at most, so others are kept from it; a published tokenizer, that was trained elsewhere, is left to its way.
    """
    shielded = tokenizer.shield(text)
    before = shielded.removesuffix(" ")
    if not (tokenizer.by_use and before[-1:].isspace()):
        return shielded
    return before + BREAK + shielded[len(before) :]


def pieces(text: str, gaps: Collection[str]) -> list[str]:
    """`text`, cut before and behind each of `gaps` in it."""
    return re.split(f"({'|'.join(map(re.escape, gaps))})", text)


def tell_spelled(tokenizer: Tokenizer, texts: Iterable[str], gaps: Collection[str] = ()) -> None:
    """Say which special tokens, other than `gaps`, texts spell without being read as such."""
    texts, others = list(texts), [token for token in tokenizer.specials if token not in gaps]
    spelled = [token for token in others if any(token in text for text in texts)]
    if spelled:
        what = f"{', '.join(spelled)} in a text is read as its characters, not as the special token"
        where = "a mask counts in fill(text) and mend(texts), a sentinel in mend(texts)"
        warnings.warn(Notice(f"{what}; {where}"), stacklevel=3)
