"""A byte-level BPE from its vocabulary and merges (Radford et al. 2019, section 2.2), and how tokens are written."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from viva.base.errors import Refusal
from viva.text.tokens import patterns
from viva.text.tokens.byte_level import BYTE_OF
from viva.text.tokens.read._known import KNOWN, Known

KINDS = {  # the class of a tokenizer without Tokenizer or TokenizerFast, or the type of a model: what it is
    "gpt2": "gpt2",
    "whisper": "gpt2",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
    "roberta": "roberta",
    "bart": "roberta",
    "longformer": "roberta",
    "led": "roberta",
    "clip": "clip",
}
CHARACTER = {byte: sign for sign, byte in BYTE_OF.items()}


def written(token: bytes) -> str:
    """A token of bytes in the characters that stand for them."""
    return "".join(map(CHARACTER.__getitem__, token))


def core(
    vocab: dict[str, int],
    merges: Iterable[tuple[str, str]],
    known: Known,
    specials: Mapping[str, int] = MappingProxyType({}),
) -> tokenizers.Tokenizer:
    """The tokenizer of these tokens and merges, which splits texts as the known one does."""
    everything = {**vocab, **specials}  # there, a special token gets its own id and not the next one
    try:
        made = tokenizers.Tokenizer(models.BPE(vocab=everything, merges=list(merges), ignore_merges=known.whole))
    except Exception as error:  # the library knows no other
        raise Refusal(
            "merges must be of tokens of the vocabulary", str(error), "fetch or make the file again"
        ) from None
    made.normalizer = normalizers.NFC() if known.nfc else None
    made.pre_tokenizer = patterns.byte_level(known.pattern)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return made


def to_be_told(place: Path) -> str:
    """How to say which vocabulary lies at a place, where no file says it."""
    ways = f'`viva tokenizer convert {place} --pattern gpt2 --out NEW`, or `viva.load_tokenizer(path, pattern="gpt2")`'
    return f"say which one it is, as in {ways}: {', '.join(KNOWN)}"


def kind(config: dict[str, Any]) -> str | None:
    """What the class of a tokenizer_config.json is, as a value of KINDS."""
    said = str(config.get("tokenizer_class") or "").removesuffix("Fast").removesuffix("Tokenizer").lower()
    return KINDS.get(said)


def prefixed(core: tokenizers.Tokenizer, config: dict[str, Any]) -> tokenizers.Tokenizer:
    """`core` with a space put before each text that has none, or without, where `add_prefix_space` of the configuration
    says so: between two special tokens, as all of this library.
    """
    parts, prefix = json.loads(core.to_str()), config.get("add_prefix_space")
    splitter = parts["pre_tokenizer"] or {}
    for step in splitter.get("pretokenizers", [splitter]):
        if step.get("type") == "ByteLevel" and isinstance(prefix, bool):
            step["add_prefix_space"] = prefix
    return tokenizers.Tokenizer.from_str(json.dumps(parts))
