"""Bits a byte of general compressors: what a language model of the same text must beat to know more than repetition.

A model with cross-entropy L nats a document of n bytes is a compressor to L / ln 2 bits (Shannon 1948), so the two
compare.
"""

import gzip
import lzma
from collections.abc import Callable, Iterable

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, 9, mtime=0),
    "xz -9": lambda data: lzma.compress(data, preset=9),
}


def bits_per_byte(texts: Iterable[str]) -> dict[str, float]:
    """For each compressor its bits a UTF-8 byte over all texts, each compressed on its own, headers included."""
    contents = [text.encode() for text in texts]
    size = sum(map(len, contents))
    return {
        name: 8 * sum(len(compress(content)) for content in contents) / size for name, compress in COMPRESSORS.items()
    }
