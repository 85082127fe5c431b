"""What every algorithm shares: special tokens with their roles, normalisation, the tokenizer made at the end."""

import warnings
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal, Self

import tokenizers
from pydantic import Field, field_validator, model_validator
from tokenizers import AddedToken, normalizers

from viva.base.config import Config
from viva.base.errors import Notice, Refusal
from viva.text.tokens.characters import require_whole
from viva.text.tokens.special import SENTINEL
from viva.text.tokens.template import DEFAULT_TEMPLATE
from viva.text.tokens.tokenizer import Tokenizer

END, PAD, TURN, TURN_END = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
UNKNOWN, MASK = "<|unk|>", "<|mask|>"
GAP = {"prefix_token": "<|fim_prefix|>", "middle_token": "<|fim_middle|>", "suffix_token": "<|fim_suffix|>"}

NORMALIZERS = {
    "nfc": [normalizers.NFC],
    "nfkc": [normalizers.NFKC],
    "lower": [normalizers.Lowercase],
    # accents are characters of their own only when taken apart; Korean syllables are put together again
    "strip_accents": [normalizers.NFD, normalizers.StripAccents, normalizers.NFC],
}


class Learner(Config):
    """vocab_size: ids in all, the special tokens among them; a small text may not fill it.

    Objectives may need more special tokens than there always are: `mask` adds one to put in place of others,
    `sentinels` so many that each stand for a span (T5), `gap` the three that tell what is around a gap from what is in.
    `added` are your own. `normalize` is done to every text in the order given, for good: what it takes away is not
    in the ids.
    """

    vocab_size: int = Field(4096, gt=0, description="ids in all, the special tokens among them")
    normalize: tuple[Literal["nfc", "nfkc", "lower", "strip_accents"], ...] = Field(
        (), description="what is done to every text first, in this order"
    )
    mask: bool = Field(False, description="add a token that stands in place of others, for masked words")
    sentinels: int = Field(0, ge=0, description="add so many tokens that each stand for a span, for span corruption")
    gap: bool = Field(False, description="add tokens for the parts around and in a gap, for filling in the middle")
    added: tuple[str, ...] = Field((), description="special tokens of your own")

    own_roles: ClassVar[dict[str, str]] = {"unk_token": UNKNOWN}  # of the algorithm: role -> token

    def fitted(self, texts: Iterable[str]) -> tokenizers.Tokenizer:
        """What the algorithm learns from normalised texts; the ids of `specials` come first."""
        raise NotImplementedError

    def learn(self, texts: Iterable[str]) -> Tokenizer:
        """The tokenizer of these texts; the same ones in the same order give the same (but see `unigram`)."""
        core = self.fitted(_Read(texts, self._normalizer))
        if self._normalizer:
            core.normalizer = self._normalizer
        core.add_special_tokens([self._added_as(token) for token in self.specials])
        if core.get_vocab_size() < self.vocab_size:
            said = f"the text fills {core.get_vocab_size()} of {self.vocab_size} ids: nothing in it is left to learn"
            warnings.warn(Notice(said), stacklevel=2)
        config = {**self.roles, "clean_up_tokenization_spaces": False, "chat_template": DEFAULT_TEMPLATE}
        return Tokenizer(core, config).for_training

    @property
    def specials(self) -> list[str]:
        """The special tokens, in the order of their ids."""
        return [
            *(END, PAD, TURN, TURN_END, *self.own_roles.values(), *self.placeholders),
            *(*(GAP.values() if self.gap else []), *self.added),
        ]

    @property
    def placeholders(self) -> list[str]:
        """The special tokens that stand in place of a text's own."""
        return [*([MASK] if self.mask else []), *(SENTINEL.format(i) for i in range(self.sentinels))]

    @property
    def spaced(self) -> bool:
        """Whether tokens that begin a word hold the space before it."""
        return False

    @property
    def roles(self) -> dict[str, str]:
        """Role -> special token, as in tokenizer_config.json."""
        found = {"bos_token": END, "eos_token": END, "pad_token": PAD, **self.own_roles}
        return found | ({"mask_token": MASK} if self.mask else {}) | (GAP if self.gap else {})

    @property
    def least(self) -> int:
        """How many ids there are before anything is learned."""
        return len(self.specials)

    def _added_as(self, token: str) -> AddedToken:
        """A special token as it is looked for. One in place of a token that holds the space before it holds it too."""
        spaced = self.spaced and token in self.placeholders
        return AddedToken(token, special=True, normalized=False, lstrip=spaced)

    @property
    def _normalizer(self) -> tokenizers.normalizers.Normalizer | None:
        steps = [step() for name in self.normalize for step in NORMALIZERS[name]]
        return normalizers.Sequence(steps) if steps else None

    @field_validator("added")
    @classmethod
    def _told_apart(cls, added: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(token) < 2 for token in added) or len(set(added)) < len(added):
            raise ValueError("must be texts of two characters or more, each of them once")
        return added

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if twice := [token for token in self.added if self.specials.count(token) > 1]:
            raise ValueError(f"{twice[0]} is a special token as it is; leave it out of `added`")
        if self.vocab_size < self.least:
            raise Refusal(f"vocab_size must be at least {self.least}", self.vocab_size, "raise it, or add fewer tokens")
        return self


class _Read:
    """The texts, normalised, refused where there is nothing in them or where they cannot be read as often as needed."""

    def __init__(self, texts: Iterable[str], normalizer: normalizers.Normalizer | None):
        self.texts, self.normalizer, self.begun = texts, normalizer, False

    def __iter__(self) -> Iterator[str]:
        if self.begun and iter(self.texts) is self.texts:
            fix = "give a list, or `text.reread.Reread(make)`, which calls `make` for them each time"
            raise Refusal("texts must be readable more than once for this algorithm", "an iterator", fix)
        self.begun, size = True, 0
        for text in self.texts:
            size += len(text)
            whole = require_whole(text, "text to learn from")
            yield self.normalizer.normalize_str(whole) if self.normalizer else whole
        if not size:
            raise Refusal("a tokenizer must have text to learn from", "none", "check the corpus it is given")
