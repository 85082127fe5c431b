"""Byte-pair encoding of characters (Sennrich et al. 2016), in the form of sentencepiece: a space is a sign of its word.

The paper marks where a word ends; here, as in LLaMA's vocabulary, the space before a word is part of it ("▁dog"), so
that the text can be put together again.
"""

from collections.abc import Iterable
from typing import Literal

import tokenizers
from pydantic import Field
from tokenizers import models, pre_tokenizers, trainers

from viva.text.tokens.learn import _characters, _merges
from viva.text.tokens.learn._characters import Bytes
from viva.text.tokens.learn._learner import UNKNOWN
from viva.text.tokens.learn._words import RULE, GuidedWords, Rule


class Config(Bytes, GuidedWords):
    """Merges are learned while a pair occurs at least twice. A "▁" in a text comes back as a space."""

    words: Literal[Rule, "jieba"] = Field("whitespace", description=RULE)

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        alphabet, fixed = self.alphabet(texts), [*self.specials, *self.byte_tokens]
        core = tokenizers.Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.Sequence([*self.cut, _characters.metaspace()])
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=2,
            special_tokens=fixed,
            show_progress=False,
        )
        core.train_from_iterator(self.guide(_characters.known(texts, alphabet)), trainer)
        model = _merges.kept(core, fixed, unk_token=UNKNOWN, byte_fallback=self.byte_fallback)
        made = tokenizers.Tokenizer(model)
        made.pre_tokenizer, made.decoder = core.pre_tokenizer, _characters.joined()
        return made
