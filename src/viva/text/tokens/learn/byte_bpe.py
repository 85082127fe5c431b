"""Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2, Radford et al. 2019)."""

from collections.abc import Iterable
from typing import ClassVar

import tokenizers
from pydantic import Field, field_validator
from tokenizers import decoders, models, pre_tokenizers, trainers

from viva.text.tokens.byte_level import require_read
from viva.text.tokens.learn import _merges
from viva.text.tokens.learn._words import DIGIT, Digits, GuidedWords
from viva.text.tokens.tokenizer import Tokenizer


class Config(GuidedWords):
    """The 256 bytes are in the vocabulary, so that nothing is unknown and every text comes back as it was."""

    digits: Digits = Field("single", description=DIGIT)

    own_roles: ClassVar[dict[str, str]] = {}

    @field_validator("added")
    @classmethod
    def _read_back(cls, added: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(require_read, added))

    @property
    def least(self) -> int:
        return super().least + 256

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        core = tokenizers.Tokenizer(models.BPE())
        carrier = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        core.pre_tokenizer = pre_tokenizers.Sequence([*self.cut, carrier])
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=2,
            special_tokens=self.specials,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        core.train_from_iterator(self.guide(texts), trainer)
        core.model = _merges.kept(core, self.specials)
        return core


def train(texts: Iterable[str], config: Config | None = None) -> Tokenizer:
    """The tokenizer that `config`, or the usual one, learns from `texts`."""
    return (config or Config()).learn(texts)
