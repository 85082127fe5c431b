"""Where words begin among tokens, told from the tokens' own texts."""

import json
import unicodedata
from collections.abc import Callable

import numpy as np

from viva.text.tokens.byte_level import BYTE, token_bytes
from viva.text.tokens.tokenizer import Tokenizer

Borders = Callable[[np.ndarray], np.ndarray]  # ids [n] -> bool [n]


def borders(tokenizer: Tokenizer) -> Borders:
    """A function that says of ids [n] which of them begin a word.

    A token goes on with the word before it where that ends, and it begins, with a letter, an accent or a digit: what
    begins a word in WordPiece, byte-level BPE and sentencepiece has a space in front, or what goes on a mark ("##"). A
    Chinese character is a word, unless the tokenizer joins several in a token. Bytes of a character stay together.
    """
    specials = set(tokenizer.specials.values())
    texts = [b"\n" if n in specials else text for n, text in enumerate(_texts(tokenizer))]
    inside = np.array([0x80 <= text[0] < 0xC0 for text in texts])
    begins = np.array([not _letter(text.decode(errors="ignore")[:1], text[0]) for text in texts])
    spaced = np.array([text.endswith(b" ") for text in texts])  # a space alone: of the word that it is in front of
    ends = np.array([not _letter(text.decode(errors="ignore")[-1:], text[0]) for text in texts]) & ~spaced

    def found(ids: np.ndarray) -> np.ndarray:
        # a character that is cut in two ends as its first part says
        told = np.maximum.accumulate(np.where(inside[ids], 0, np.arange(len(ids))))
        behind = np.concatenate([[True], ends[ids[told[:-1]]]])[: len(ids)]
        return ~inside[ids] & (begins[ids] | behind)

    return found


def ends_with(tokenizer: Tokenizer, marks: tuple[str, ...]) -> Borders:
    """A function that says of ids [n] behind which of them the text so far ends with one of `marks`, and perhaps space.

    A mark whose bytes are several tokens ends with the last of them.
    """
    texts = _texts(tokenizer)
    whole = np.array([text.decode(errors="ignore").rstrip().endswith(marks) for text in texts])
    written = tuple(mark.encode() for mark in marks)
    rests = {mark[cut:] for mark in written for cut in range(1, len(mark))}
    rest = np.array([text.rstrip() in rests for text in texts])

    def found(ids: np.ndarray) -> np.ndarray:
        ended = whole[ids]
        for place in np.flatnonzero(rest[ids]):
            before = b"".join(texts[number] for number in ids[max(0, place - 2) : place])
            ended[place] = (before + texts[ids[place]].rstrip()).endswith(written)
        return ended

    return found


def _letter(character: str, byte: int) -> bool:
    """Whether it may stand inside a word. Of a character cut off by the token's end, which is "", a first byte below
    E0 is that of a letter with an accent, of Greek, Cyrillic or Arabic; Chinese characters have three bytes.
    """
    if not character:
        return byte < 0xE0
    inside = character.isalnum() or unicodedata.category(character).startswith("M")
    return inside and not unicodedata.name(character, "").startswith("CJK")


def _texts(tokenizer: Tokenizer) -> list[bytes]:
    """Each token's text in UTF-8; a line end for an id without one, so that none is empty."""
    parts = json.loads(tokenizer.core.to_str())
    tokens = [tokenizer.core.id_to_token(number) or "\n" for number in range(tokenizer.vocab_size)]
    if "ByteLevel" in json.dumps(parts["decoder"]):
        return [token_bytes(token) for token in tokens]
    if parts["model"]["type"] == "WordPiece":
        mark = parts["model"]["continuing_subword_prefix"]
        return [(token[len(mark) :] or "\n" if token.startswith(mark) else f" {token}").encode() for token in tokens]
    if parts["model"]["type"] == "WordLevel":
        return [f" {token}".encode() for token in tokens]
    return [_plain(token) for token in tokens]


def _plain(token: str) -> bytes:
    """A token of sentencepiece: a sign for the space, and bytes by number."""
    byte = BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()
