"""A byte-level BPE from its vocabulary and merges (Radford et al. 2019, section 2.2), and how tokens are written."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from viva.text.tokens import patterns
from viva.text.tokens.byte_level import BYTE_OF
from viva.text.tokens.read._known import Known

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
    made = tokenizers.Tokenizer(models.BPE(vocab=everything, merges=list(merges), ignore_merges=known.whole))
    made.normalizer = normalizers.NFC() if known.nfc else None
    made.pre_tokenizer = patterns.byte_level(known.pattern)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return made
