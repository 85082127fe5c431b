"""WordPiece (Schuster and Nakajima 2012), encoded as in BERT: from the left, the longest piece that fits.

The papers choose the merge that raises the likelihood of the text most, and their trainer was never published. Here, as
in the library `tokenizers`, pieces are learned by the most frequent pair, which is byte-pair encoding with pieces
that say whether they begin a word ("dog") or go on with it ("##gy").
"""

from collections.abc import Iterable
from typing import ClassVar

import tokenizers
from pydantic import Field
from tokenizers import decoders, models, pre_tokenizers, trainers

from viva.text.tokens.learn import _characters
from viva.text.tokens.learn._characters import Characters
from viva.text.tokens.learn._learner import UNKNOWN
from viva.text.tokens.learn._words import PlacedWords

GOES_ON = "##"


class Config(Characters, PlacedWords):
    """A word with a character that is not in the vocabulary is unknown as a whole, and one longer than `longest` too.

    Decoding sets a space between words, so that a text comes back but for its spaces.
    """

    longest: int = Field(100, gt=0, description="characters of a word; a longer one is unknown")

    own_roles: ClassVar[dict[str, str]] = {"unk_token": UNKNOWN, "cls_token": "[CLS]", "sep_token": "[SEP]"}
    each: ClassVar[int] = 2

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        alphabet = [character for character in self.alphabet(texts) if not character.isspace()]
        # given as special tokens, so that their ids, and with them ties between pairs, do not hang on a hash's order
        first = [*self.specials, *(GOES_ON + character for character in alphabet)]
        core = tokenizers.Tokenizer(models.WordPiece())
        core.pre_tokenizer = pre_tokenizers.Sequence(self.cut)
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size, min_frequency=2, special_tokens=first, show_progress=False
        )
        core.train_from_iterator(_characters.known(texts, alphabet), trainer)
        made = tokenizers.Tokenizer(
            models.WordPiece(
                core.get_vocab(),
                unk_token=UNKNOWN,
                continuing_subword_prefix=GOES_ON,
                max_input_chars_per_word=self.longest,
            )
        )
        made.pre_tokenizer, made.decoder = core.pre_tokenizer, decoders.WordPiece(GOES_ON, cleanup=False)
        return made
