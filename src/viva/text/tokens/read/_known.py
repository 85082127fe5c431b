"""Byte-level vocabularies that go by a name: how they split a text, and what their files leave out."""

from dataclasses import dataclass, field

from viva.base.errors import Refusal, nearest


@dataclass(frozen=True)
class Known:
    """`pattern`: its name in text/tokens/patterns.py; `nfc`: whether texts are brought to the form NFC first;
    `whole`: whether a word that is a token becomes it whatever the merges say, as in tiktoken.

    `ranks`: how many ids are given by merges; `specials`: token -> id; `roles`: what tokenizer_config.json says.
    """

    pattern: str
    ranks: int = 0
    specials: dict[str, int] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    nfc: bool = False
    whole: bool = False


END = "<|endoftext|>"
ENDS = {"bos_token": END, "eos_token": END}
_LLAMA3 = (  # as from 3.1 on
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    *(f"<|reserved_special_token_{i}|>" for i in range(3, 248)),
)
_QWEN = (END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205)))


def _from(first: int, tokens: tuple[str, ...]) -> dict[str, int]:
    return {token: first + place for place, token in enumerate(tokens)}


_FIM = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}
KNOWN = {
    "gpt2": Known("gpt2", 50256, {END: 50256}, ENDS),
    "r50k_base": Known("gpt2", 50256, {END: 50256}, ENDS),
    "p50k_base": Known("gpt2", 50280, {END: 50256}, ENDS),
    "cl100k_base": Known("cl100k", 100256, {END: 100257, **_FIM}, ENDS),
    "o200k_base": Known("o200k", 199998, {END: 199999, "<|endofprompt|>": 200018}, ENDS),
    "llama3": Known(
        "llama3",
        128000,
        _from(128000, _LLAMA3),
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"},
        whole=True,
    ),
    "qwen": Known("qwen2", 151643, _from(151643, _QWEN), {"eos_token": END, "pad_token": END}, nfc=True),
    "qwen2": Known("qwen2", 151643, _from(151643, _QWEN[:3]), {"eos_token": END, "pad_token": END}, nfc=True),
    "whisper": Known("gpt2", 50257, {END: 50257, "<|startoftranscript|>": 50258}, ENDS),
}
ALIASES = {"multilingual": "whisper", "cl100k": "cl100k_base", "o200k": "o200k_base", "r50k": "r50k_base"}


def known(name: str) -> Known | None:
    """The vocabulary of that name, None where there is none."""
    return KNOWN.get(ALIASES.get(name, name))


def told(name: object) -> Known:
    """The vocabulary whose name a caller tells; one of none is refused."""
    if not isinstance(name, str) or known(name) is None:
        raise Refusal("pattern must be that of a known vocabulary", repr(name), nearest(str(name), list(KNOWN)))
    return known(name)
