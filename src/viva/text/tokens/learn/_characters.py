"""The characters that a vocabulary of characters begins with, and the bytes that stand in for all others."""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field
from tokenizers import decoders, pre_tokenizers

from viva.base.errors import Notice, Refusal
from viva.text.tokens.byte_level import BYTES
from viva.text.tokens.learn._learner import Learner

SPACE = "▁"  # how sentencepiece writes a space


class Characters(Learner):
    """coverage: characters are taken into the vocabulary, the frequent ones first, until they make up this share of
    all texts (sentencepiece's character_coverage); the others are what the tokenizer does not know.
    """

    coverage: float = Field(0.9995, gt=0, le=1, description="the share of all characters that the vocabulary holds")

    each: ClassVar[int] = 1  # how many ids a character takes

    def alphabet(self, texts: Iterable[str]) -> list[str]:
        """The characters of the vocabulary, in the order of their code points; refused where it cannot hold them."""
        counts = Counter()
        for text in texts:
            counts.update(text)
        wanted, kept = self.coverage * counts.total(), []
        for character in sorted(counts, key=lambda character: (-counts[character], character)):
            if wanted <= 0:
                break
            kept.append(character)
            wanted -= counts[character]
        if (least := self.least + self.taken(kept)) > self.vocab_size:
            must = f"vocab_size must be at least {least} to hold {len(kept)} characters of the texts"
            raise Refusal(must, self.vocab_size, "raise it, or lower `coverage`")
        if len(kept) < len(counts):
            self.tell(len(counts) - len(kept), 1 - sum(map(counts.get, kept)) / counts.total())
        return sorted(kept)

    def taken(self, kept: list[str]) -> int:
        """How many ids these characters take."""
        return self.each * len(kept)

    def tell(self, rare: int, share: float) -> None:
        """What becomes of rare characters."""
        said = f"{rare} rare characters ({share:.3%} of the text) are not in the vocabulary and become unknown"
        warnings.warn(Notice(f"{said}; raise `coverage` to have more of them"), stacklevel=4)


class Bytes(Characters):
    """byte_fallback: a character that is not in the vocabulary is written as its bytes in UTF-8, 256 more tokens, so
    that nothing is unknown; without it, it becomes the unknown token.
    """

    byte_fallback: bool = Field(True, description="write characters that are not in the vocabulary as their bytes")

    @property
    def byte_tokens(self) -> list[str]:
        """The tokens of bytes."""
        return BYTES if self.byte_fallback else []

    @property
    def least(self) -> int:
        return super().least + len(self.byte_tokens)

    def tell(self, rare: int, share: float) -> None:
        if not self.byte_fallback:
            super().tell(rare, share)


def known(texts: Iterable[str], alphabet: list[str]) -> Iterator[str]:
    """The pieces of the texts between characters that are not in the alphabet."""
    rare = re.compile(f"[^{re.escape(''.join(alphabet))}]+")
    for text in texts:
        yield from filter(None, rare.split(text))


def metaspace() -> pre_tokenizers.PreTokenizer:
    """Writes a space as a sign. None is put before a text, so that decoding gives back what was encoded."""
    return pre_tokenizers.Metaspace(SPACE, prepend_scheme="never", split=False)


def spelled() -> decoders.Decoder:
    """Text from tokens that are characters, and bytes by number."""
    return decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])


def joined() -> decoders.Decoder:
    """Text from tokens: signs for spaces, and bytes by number."""
    return decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
