"""Rules by which a text is cut into words before tokens are learned; no token reaches over the border of one."""

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Literal, Self

from pydantic import Field, model_validator
from tokenizers import Regex, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from viva.base.errors import Notice, Refusal
from viva.text.tokens.learn._learner import Learner
from viva.text.tokens.patterns import GPT2

DIGITS = {"single": r"\p{N}", "three": r"\p{N}{1,3}", "any": r"\p{N}+"}
SPACE = r"\s+(?!\S)|\s+"  # its last character is left to the word it precedes
WHITESPACE = rf" ?\S+|{SPACE}"
# Chinese characters and Japanese syllables are written side by side, as one script
SCRIPTS = (
    *(r"\p{Han}\p{Hiragana}\p{Katakana}ー", r"\p{Latin}", r"\p{Greek}", r"\p{Cyrillic}", r"\p{Arabic}", r"\p{Hebrew}"),
    *(r"\p{Devanagari}", r"\p{Bengali}", r"\p{Tamil}", r"\p{Telugu}", r"\p{Gujarati}", r"\p{Gurmukhi}", r"\p{Kannada}"),
    *(r"\p{Malayalam}", r"\p{Sinhala}", r"\p{Thai}", r"\p{Lao}", r"\p{Khmer}", r"\p{Myanmar}", r"\p{Tibetan}"),
    *(r"\p{Hangul}", r"\p{Armenian}", r"\p{Georgian}", r"\p{Ethiopic}", r"\p{Mongolian}"),
)
BY_SCRIPT = "|".join(rf" ?[{script}][{script}\p{{M}}]*" for script in SCRIPTS)
SCRIPT = rf"{BY_SCRIPT}| ?\p{{N}}+| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+| ?[\p{{L}}\p{{M}}]+|{SPACE}"
HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)")

Rule = Literal["whitespace", "gpt2", "gpt4", "script", "none"]
Digits = Literal["single", "three", "any"]
RULE, DIGIT = "the rule by which a text is cut into words", "how many digits a token may hold"


class Words(Learner):
    """words: the rule by which a text is cut into words.

    whitespace: at spaces, each of which goes with what follows it. gpt2: letters, digits and signs are apart (Radford
    et al. 2019). gpt4: as the pattern cl100k of tiktoken, but an accent stays with its letter. script: letters, digits
    and signs are apart, and letters of one script from those of another. none: at line ends alone, so that tokens may
    hold several words, as sentencepiece does when it is told not to split at whitespace.

    digits: "single" makes each digit a word, so that a number's value can be read off its tokens (as in LLaMA and
    Qwen2); "three" takes up to three together (as in GPT-4), which is shorter and harder to add up; "any" all.
    """

    words: Rule = Field("gpt4", description=RULE)
    digits: Digits = Field("any", description=DIGIT)

    @property
    def cut(self) -> list[PreTokenizer]:
        """The steps that cut a text into words."""
        if self.words not in ("whitespace", "gpt2", "script", "none"):
            return [_split(gpt4(DIGITS[self.digits]))]
        steps = {
            "whitespace": [_split(WHITESPACE)],
            "gpt2": [_split(GPT2)],
            "script": [_split(SCRIPT)],
            "none": [pre_tokenizers.Split("\n", "merged_with_previous")],
        }[self.words]
        return steps if self.digits == "any" else [*steps, _split(DIGITS[self.digits])]

    @property
    def spaced(self) -> bool:
        return self.words != "none"  # tokens of several words end with a space more often than they begin with one


class GuidedWords(Words):
    """There is one rule more, jieba: Chinese is cut by jieba (the extra `chinese`) while tokens are learned. A
    tokenizer.json cannot hold its dictionary, so a text that is encoded is cut as by gpt4, and the words have only
    guided what is in the vocabulary. Other algorithms have no such rule: the tokens of `wordpiece` and `word` say where
    a word begins, and `unigram` looks for its pieces by what follows on them.
    """

    words: Literal[Rule, "jieba"] = Field("gpt4", description=RULE)

    def guide(self, texts: Iterable[str]) -> Iterable[str]:
        """The texts; cut into pieces by jieba, if it is to guide what is learned."""
        if self.words != "jieba":
            return texts
        said = "jieba guides what is learned; a text that is encoded is cut as by `gpt4`, for want of its dictionary"
        warnings.warn(Notice(said), stacklevel=4)
        return _by_jieba(texts)


class PlacedWords(Words):
    """For algorithms whose tokens say whether they begin a word. Space is between words, not in them, and each sign is
    a word, as in BERT.
    """

    words: Rule = Field("whitespace", description=RULE)

    @property
    def cut(self) -> list[PreTokenizer]:
        return [*super().cut, pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]

    @property
    def spaced(self) -> bool:
        return False

    @model_validator(mode="after")
    def _specials_are_no_words(self) -> Self:
        for token in self.specials:
            if len(pre_tokenizers.Sequence(self.cut).pre_tokenize_str(token)) == 1:
                must = "a special token must have a sign in it, so that no word of a text is taken for it"
                raise Refusal(must, repr(token), f"write it as <|{token}|>")
        return self


def gpt4(digits: str) -> str:
    """No merge crosses the border of a match.

    In order: an English contraction; letters with their accents, and one sign or space before them (` is`, `.join`,
    `_name`); digits; signs with the line ends that follow; line ends with the space before them; and other space,
    whose last character is left to the word it precedes, so that indentation and code are apart.
    """
    letters = r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+"
    signs = r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    return rf"(?i:'(?:s|t|re|ve|m|ll|d))|{letters}|{digits}|{signs}|\s*[\r\n]+|{SPACE}"


def _split(pattern: str) -> PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _by_jieba(texts: Iterable[str]) -> Iterator[str]:
    """Each Chinese word that jieba finds, and what is between runs of Chinese, as texts of their own."""
    try:
        import jieba
    except ImportError:
        fix = "pip install 'viva[chinese]', or use another rule"
        raise Refusal("`words: jieba` needs the package jieba", "none", fix) from None
    jieba.setLogLevel("WARNING")  # it tells of its dictionary on stderr
    for text in texts:
        for place, run in enumerate(HAN.split(text)):
            yield from jieba.cut(run) if place % 2 else [run]
