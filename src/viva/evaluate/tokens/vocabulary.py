"""What kinds of tokens a vocabulary has: an unknown one, bytes of a character, ones that texts can give."""

import json
import re
from dataclasses import dataclass

from tokenizers import decoders, pre_tokenizers

from viva.text.tokens.tokenizer import Tokenizer

BYTE = re.compile("<0x[0-9A-F]{2}>")
BROKEN, BROKEN_ITSELF = "\ufffd", "ï¿½"  # what stands for bytes that are no character; the token that is that sign


@dataclass(frozen=True)
class Vocabulary:
    """unknown: the id that stands for what the vocabulary lacks, None if there is none. fragments: the ids that stand
    for bytes and not for whole characters, None where no id does. ordinary: the ids that plain text can give, special
    tokens not among them. complete: whether every text has tokens, byte by byte if need be.
    """

    unknown: int | None
    fragments: frozenset[int] | None
    ordinary: frozenset[int]
    complete: bool


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """The kinds of its tokens."""
    parts = json.loads(tokenizer.core.to_str())
    model, tokens = parts["model"], tokenizer.core.get_vocab()
    fragments = _fragments(tokenizer.core.get_vocab(with_added_tokens=False), parts)
    alphabet = pre_tokenizers.ByteLevel.alphabet() if _byte_level(parts) else [f"<0x{byte:02X}>" for byte in range(256)]
    return Vocabulary(
        unknown=model.get("unk_id") if model["type"] == "Unigram" else tokens.get(model.get("unk_token")),
        fragments=fragments,
        ordinary=frozenset(tokens.values()) - frozenset(tokenizer.specials.values()),
        complete=fragments is not None and all(byte in tokens for byte in alphabet),
    )


def _byte_level(parts: dict) -> bool:
    """Whether tokens are written as bytes, a sign for each (GPT-2)."""
    return "ByteLevel" in json.dumps([parts["normalizer"], parts["pre_tokenizer"]])


def _fragments(tokens: dict[str, int], parts: dict) -> frozenset[int] | None:
    if _byte_level(parts):
        decode = decoders.ByteLevel().decode
        return frozenset(n for token, n in tokens.items() if decode([token]).count(BROKEN) > token.count(BROKEN_ITSELF))
    if parts["model"].get("byte_fallback"):
        return frozenset(number for token, number in tokens.items() if BYTE.fullmatch(token))
    return None
