"""How byte-level tokenizers split a text into words, no merge crossing their borders: a pattern a name.

Sources: `gpt2`, `cl100k` (GPT-4) and `o200k` (GPT-4o) as in tiktoken's openai_public.py; `llama3`, `qwen2` and the
others from the tokenizer.json of the first model that had them. Possessive quantifiers, which the engine of
`tokenizers` reads otherwise, are left out: no alternative of theirs gives back what it took.
"""

from tokenizers import Regex, pre_tokenizers

from viva.base.errors import Refusal, nearest

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AFTER_WORDS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LETTERS = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
_START = r"[^\r\n\p{L}\p{N}]?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SIGNS = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

PATTERNS = {
    "gpt2": (GPT2,),
    "cl100k": (_LETTERS + r"\p{N}{1,3}" + _AFTER_WORDS,),
    "llama3": (_LETTERS + r"\p{N}{1,3}" + _AFTER_WORDS,),
    "qwen2": (_LETTERS + r"\p{N}" + _AFTER_WORDS,),
    "o200k": (
        rf"{_START}{_UPPER}*{_LOWER}+{_CONTRACTION}?|{_START}{_UPPER}+{_LOWER}*{_CONTRACTION}?|\p{{N}}{{1,3}}{_SIGNS}",
    ),
    "tekken": (rf"{_START}{_UPPER}*{_LOWER}+|{_START}{_UPPER}+{_LOWER}*|\p{{N}}{_SIGNS}",),
    "starcoder": (r"\p{N}", GPT2),  # each digit apart first, then GPT-2's
}


def pattern(name: str) -> tuple[str, ...]:
    """The regular expressions of a pattern, each of which splits what the one before it left; a name of none is
    refused.
    """
    if name not in PATTERNS:
        raise Refusal("a pattern must be known by its name", repr(name), nearest(str(name), list(PATTERNS)))
    return PATTERNS[name]


def byte_level(name: str) -> pre_tokenizers.PreTokenizer:
    """Splits a text by the named pattern, and writes the UTF-8 bytes of each part as the characters that stand for them
    in byte-level vocabularies.
    """
    if name == "gpt2":  # the library's own form of it
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    splits = [pre_tokenizers.Split(Regex(each), "isolated") for each in pattern(name)]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
