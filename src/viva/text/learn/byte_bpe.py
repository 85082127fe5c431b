"""Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2, Radford et al. 2019)."""

from collections.abc import Iterable, Iterator
from typing import Literal, Self

import tokenizers
from pydantic import Field, model_validator
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from viva.base.config import Config as Base
from viva.base.errors import Refusal
from viva.text.characters import require_whole
from viva.text.template import DEFAULT_TEMPLATE
from viva.text.tokenizer import Tokenizer

END, PAD, TURN, TURN_END = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [END, PAD, TURN, TURN_END]
MASK, SENTINEL = "<|mask|>", "<extra_id_{}>"
GAP = {"prefix_token": "<|fim_prefix|>", "middle_token": "<|fim_middle|>", "suffix_token": "<|fim_suffix|>"}
DIGITS = {"single": r"\p{N}", "three": r"\p{N}{1,3}"}


class Config(Base):
    """vocab_size: ids in all, the 256 bytes and the special tokens among them; a small text may not fill it.

    digits: "single" makes each digit a token, so that a number's value can be read off its tokens (as in LLaMA and
    Qwen2); "three" takes up to three together (as in GPT-4), which is shorter and harder to add up.

    Objectives may need more special tokens than the 4 there always are: `mask` adds one to put in place of others,
    `sentinels` so many that each stand for a span (T5), `gap` the three that tell what is around a gap from what is in.
    """

    vocab_size: int = Field(
        4096, ge=256 + len(SPECIALS), description="ids in all, the 256 bytes and the special tokens among them"
    )
    digits: Literal["single", "three"] = Field("single", description="whether a token holds one digit, or up to three")
    mask: bool = Field(False, description="add a token that stands in place of others, for masked words")
    sentinels: int = Field(0, ge=0, description="add so many tokens that each stand for a span, for span corruption")
    gap: bool = Field(False, description="add tokens for the parts around and in a gap, for filling in the middle")

    @property
    def specials(self) -> list[str]:
        """The special tokens, in the order of their ids."""
        extra = [*([MASK] if self.mask else []), *(SENTINEL.format(i) for i in range(self.sentinels))]
        return [*SPECIALS, *extra, *(GAP.values() if self.gap else [])]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.vocab_size < (least := 256 + len(self.specials)):
            raise Refusal(f"vocab_size must be at least {least}", self.vocab_size, "raise it, or add fewer tokens")
        return self

    def learn(self, texts: Iterable[str]) -> Tokenizer:
        """The tokenizer of these texts; the same ones in the same order give the same."""
        return train(texts, self)


def train(texts: Iterable[str], config: Config | None = None) -> Tokenizer:
    """Learn the merges from `texts`; the same texts in the same order give the same tokenizer."""
    config = config or Config()
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_words(DIGITS[config.digits])), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=2,
        special_tokens=config.specials,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(_some(texts), trainer)
    roles = {"bos_token": END, "eos_token": END, "pad_token": PAD}
    roles |= ({"mask_token": MASK} if config.mask else {}) | (GAP if config.gap else {})
    return Tokenizer(core, {**roles, "clean_up_tokenization_spaces": False, "chat_template": DEFAULT_TEMPLATE})


def _words(digits: str) -> str:
    """No merge crosses the border of a match.

    In order: an English contraction; letters with their accents, and one sign or space before them (` is`, `.join`,
    `_name`); digits; signs with the line ends that follow; line ends with the space before them; and other space,
    whose last character is left to the word it precedes, so that indentation and code are apart.
    """
    letters = r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+"
    signs = r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    return rf"(?i:'(?:s|t|re|ve|m|ll|d))|{letters}|{digits}|{signs}|\s*[\r\n]+|\s+(?!\S)|\s+"


def _some(texts: Iterable[str]) -> Iterator[str]:
    """Pass the texts on, and refuse if there was nothing in them."""
    size = 0
    for text in texts:
        size += len(text)
        yield require_whole(text, "text to learn from")
    if not size:
        raise Refusal("a tokenizer must have text to learn from", "none", "check the corpus it is given")
