"""Every word a token: the most frequent words of the text, and one token for all others."""

from collections.abc import Iterable

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from viva.text.tokens.learn._learner import UNKNOWN
from viva.text.tokens.learn._words import PlacedWords


class Config(PlacedWords):
    """Decoding sets a space between words, so that a text comes back but for its spaces."""

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        core = tokenizers.Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        core.pre_tokenizer = pre_tokenizers.Sequence(self.cut)
        trainer = trainers.WordLevelTrainer(
            vocab_size=self.vocab_size, special_tokens=self.specials, show_progress=False
        )
        core.train_from_iterator(texts, trainer)
        return core
