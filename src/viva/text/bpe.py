"""Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes as in GPT-2, Radford et al. 2019)."""

from collections.abc import Iterable, Iterator
from typing import Literal

import tokenizers
from pydantic import Field
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from viva.base.config import Config as Base
from viva.base.errors import Refusal
from viva.text.characters import require_whole
from viva.text.template import DEFAULT_TEMPLATE
from viva.text.tokenizer import Tokenizer

END, PAD, TURN, TURN_END = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
SPECIALS = [END, PAD, TURN, TURN_END]
DIGITS = {"single": r"\p{N}", "three": r"\p{N}{1,3}"}


class Config(Base):
    """vocab_size: ids in all, the 256 bytes and 4 special tokens among them; a small text may not fill it.

    digits: "single" makes each digit a token, so that a number's value can be read off its tokens (as in LLaMA and
    Qwen2); "three" takes up to three together (as in GPT-4), which is shorter and harder to add up.
    """

    vocab_size: int = Field(
        4096, ge=256 + len(SPECIALS), description="ids in all, the 256 bytes and the special tokens among them"
    )
    digits: Literal["single", "three"] = Field("single", description="whether a token holds one digit, or up to three")


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
        special_tokens=SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(_some(texts), trainer)
    roles = {"bos_token": END, "eos_token": END, "pad_token": PAD}
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
