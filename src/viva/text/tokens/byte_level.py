"""Byte-level tokens: how their characters stand for bytes (GPT-2, Radford et al. 2019, section 2.2)."""

import re
from typing import Any

from viva.base.errors import Refusal

# printable characters stand for themselves, the other bytes for the signs from U+0100 on
_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
BYTE_OF = {chr(byte): byte for byte in sorted(_PRINTABLE)} | {chr(0x100 + i): byte for i, byte in enumerate(_OTHERS)}

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # SentencePiece's other way: a token for each byte
BYTE = re.compile("<0x([0-9A-F]{2})>")


def spelled(token: str) -> bytes | None:
    """The bytes that a token spells, or None where one of its characters is no sign for a byte."""
    try:
        return bytes(map(BYTE_OF.__getitem__, token))
    except KeyError:
        return None


def token_bytes(token: str) -> bytes:
    """What a token becomes in a text: the bytes it spells or, of an added token with other characters, its UTF-8."""
    found = spelled(token)
    return token.encode() if found is None else found


def misread(token: str) -> bool:
    """Whether an added token, of which a byte-level vocabulary holds the text itself, is decoded as if its characters
    were signs for bytes: not all of them are ASCII, and all are such signs (`naïve`, `«x»`, not `naïve!€`).
    """
    return spelled(token) not in (None, token.encode())


def require_read(token: str) -> str:
    """`token` itself; refused where a byte-level vocabulary would decode it to another text."""
    if misread(token):
        found = f"{token!r}, whose characters all stand for single bytes there, in every library"
        fix = "leave it out, for the vocabulary's own tokens write it; or add it with a space before it"
        raise Refusal("a token added to a byte-level vocabulary must decode to itself", found, fix)
    return token


def decodes_bytes(decoder: dict[str, Any] | None) -> bool:
    """Whether a decoder, as tokenizer.json has it, puts bytes end to end and does nothing else."""
    return decoder is not None and decoder["type"] == "ByteLevel"
