"""Noise over a text: which tokens it may fall on, on how many it falls, and what stands in their place."""

import numpy as np

from viva.base.errors import Refusal
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.loss import IGNORE
from viva.train.reading import Piece


def special(tokenizer: Tokenizer) -> np.ndarray:
    """Which ids are special tokens, bool [V]: never damaged."""
    found = np.zeros(tokenizer.vocab_size, bool)
    found[list(tokenizer.specials.values())] = True
    return found


def role(tokenizer: Tokenizer, name: str, name_in_recipe: str) -> int:
    """The id of the token that the tokenizer's configuration calls `name`."""
    found = tokenizer.words.get(name)
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


def require_text(piece: Piece) -> None:
    """Refuse a document of which a part is not to be learned: noise would fall on it all the same."""
    if not piece.mask.all() or (piece.next == IGNORE).any():
        must = "documents must be learned whole for this objective"
        raise Refusal(must, "a format in which a part is only read", "use the format text")


def parts(ids: np.ndarray, special: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The special tokens that ids [n] begin with, the text, and the special tokens at its end."""
    plain = np.flatnonzero(~special[ids])
    first, last = (plain[0], plain[-1] + 1) if len(plain) else (len(ids), len(ids))
    return ids[:first], ids[first:last], ids[last:]
