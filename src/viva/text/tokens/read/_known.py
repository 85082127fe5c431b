"""Byte-level vocabularies that go by a name: how they split a text, and what their files leave out."""

from dataclasses import dataclass, field

from viva.base.errors import Refusal, nearest


@dataclass(frozen=True)
class Known:
    """`pattern`: its name in text/tokens/patterns.py; `nfc`: whether texts are brought to the form NFC first;
    `whole`: whether a word that is a token becomes it whatever the merges say, as in tiktoken.

    `ranks`: how many ids are given by merges; `specials`: token -> id; `roles`: what tokenizer_config.json says;
    `note`: what must be said where a file's name alone names it, since it is that of others too.
    """

    pattern: str
    ranks: int = 0
    specials: dict[str, int] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    nfc: bool = False
    whole: bool = False
    note: str = ""


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
# In the order of their ids, as openai/whisper's tokenizer.py has them; large-v3 came with Cantonese
_LANGUAGES = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
)


def _whisper(languages: int) -> tuple[str, ...]:
    """Whisper's special tokens, the times from 0 to 30 seconds among them (Radford et al. 2022, section 2.3)."""
    tasks = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    times = (f"{hundredths / 100:.2f}" for hundredths in range(0, 3001, 2))
    return tuple(
        f"<|{name}|>" for name in ("endoftext", "startoftranscript", *_LANGUAGES.split()[:languages], *tasks, *times)
    )


def _from(first: int, tokens: tuple[str, ...]) -> dict[str, int]:
    return {token: first + place for place, token in enumerate(tokens)}


_FIM = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}
_WHISPER = "has the special tokens of Whisper up to large-v2; those of large-v3, with Cantonese, are whisper_v3"
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
    "whisper_en": Known("gpt2", 50256, _from(50256, _whisper(99)), ENDS),
    "whisper": Known("gpt2", 50257, _from(50257, _whisper(99)), ENDS, note=_WHISPER),
    "whisper_v3": Known("gpt2", 50257, _from(50257, _whisper(100)), ENDS),
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
