"""Every character a token."""

from collections.abc import Iterable

import tokenizers
from tokenizers import models

from viva.text.tokens.learn import _characters
from viva.text.tokens.learn._characters import Bytes
from viva.text.tokens.learn._learner import UNKNOWN


class Config(Bytes):
    """The characters of the vocabulary are the frequent ones, as `coverage` says."""

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        tokens = [*self.specials, *self.byte_tokens, *self.alphabet(texts)]
        vocab = {token: number for number, token in enumerate(tokens)}
        core = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token=UNKNOWN, byte_fallback=self.byte_fallback))
        core.decoder = _characters.spelled()
        return core
