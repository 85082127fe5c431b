"""The tokenizer in a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, the keys tokenizer.ggml)."""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from viva.base.errors import Refusal, nearest
from viva.text.tokens.read import _byte_level, _files, _gguf, _wordpiece
from viva.text.tokens.read._frame import set_frame
from viva.text.tokens.read._known import Known
from viva.text.tokens.read._pieces import SPACE, Kind, Piece, Pieces

FILES = "a .gguf file"
ROLES = {
    "bos": "bos",
    "eos": "eos",
    "unknown": "unk",
    "padding": "pad",
    "seperator": "sep",  # as the format spells it
    "cls": "cls",
    "mask": "mask",
}
PRE = {  # the names by which llama.cpp calls a way to split texts, where it is one of ours
    "gpt-2": "gpt2",
    "mpt": "gpt2",
    "olmo": "gpt2",
    "jais": "gpt2",
    "phi-2": "gpt2",
    "llama-bpe": "llama3",
    "llama3": "llama3",
    "llama-v3": "llama3",
    "dbrx": "llama3",
    "smaug-bpe": "llama3",
    "qwen2": "qwen2",
    "stablelm2": "qwen2",
    "deepseek-r1-qwen": "qwen2",
    "gpt-4o": "o200k",
    "tekken": "tekken",
    "starcoder": "starcoder",
    "refact": "starcoder",
    "command-r": "starcoder",
    "smollm": "starcoder",
    "codeshell": "starcoder",
    "exaone": "starcoder",
}


class Fields:
    """The values of a GGUF file under tokenizer.ggml; one that is needed and missing is refused."""

    def __init__(self, file: Path):
        self.file, self.keys = file, _gguf.keys(file)

    def get(self, key: str, usual: Any = None) -> Any:
        return self.keys.get(f"tokenizer.ggml.{key}", usual)

    def need(self, key: str) -> Any:
        if (found := self.get(key)) is None:
            raise Refusal(f"{self.file} must hold tokenizer.ggml.{key}", "none", "convert the model again")
        return found


def find(place: Path) -> Path | None:
    file = _files.the_file(place, "*.gguf")
    if file is None:
        return None
    with open(file, "rb") as opened:
        return file if opened.read(4) == _gguf.MAGIC else None


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    fields = Fields(file)
    model = fields.need("model")
    if model not in MODELS:
        raise Refusal(f"tokenizer.ggml.model of {file} must be known", repr(model), nearest(model, list(MODELS)))
    tokens = fields.need("tokens")
    ids = {f"{ours}_token": fields.get(f"{theirs}_token_id") for theirs, ours in ROLES.items()}
    roles = {role: tokens[number] for role, number in ids.items() if number is not None and number < len(tokens)}
    core, more = MODELS[model](fields, tokens)
    if core.post_processor is None:
        before, after = (
            roles.get(f"{role}_token") if fields.get(f"add_{role}_token") else None for role in ("bos", "eos")
        )
        set_frame(core, before, after)
    return core, {**roles, **more, "chat_template": fields.keys.get("tokenizer.chat_template")} | config


def _byte_bpe(fields: Fields, tokens: list[str]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """`gpt2`: a byte-level BPE, whose way to split texts has a name."""
    pre = fields.need("pre")
    if pre not in PRE:
        raise Refusal(f"tokenizer.ggml.pre of {fields.file} must be known", repr(pre), nearest(pre, list(PRE)))
    vocab = {token: number for number, token in enumerate(tokens)}
    merges = [tuple(pair.split(" ")) for pair in fields.need("merges")]
    kinds = fields.get("token_type", [Kind.NORMAL] * len(tokens))
    special = {token: number for number, token in enumerate(tokens) if kinds[number] == Kind.CONTROL}
    known = Known(PRE[pre], nfc=PRE[pre] == "qwen2", whole=PRE[pre] == "llama3")
    core = _byte_level.core(vocab, merges, known, special)
    core.add_tokens(
        [AddedToken(t, normalized=False) for t, kind in zip(tokens, kinds, strict=True) if kind == Kind.USER]
    )
    return core, {}


def _pieces(unigram: bool, fields: Fields, tokens: list[str]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """`llama`: SentencePiece's BPE; `t5`: its Unigram."""
    kinds = map(Kind, fields.need("token_type"))
    listed = [Piece(*each) for each in zip(tokens, fields.need("scores"), kinds, strict=True)]
    charsmap = bytes(fields.get("precompiled_charsmap", b""))
    prefix, trim = fields.get("add_space_prefix", True), fields.get("remove_extra_whitespaces", False)
    return Pieces(listed, unigram, charsmap, prefix, trim).core(), {}


def _bert(fields: Fields, tokens: list[str]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """`bert`: WordPiece, the start of a word marked here, and not what goes on in it; in lower case, as llama.cpp has
    it for all of them.
    """
    vocab = {_unmarked(token): number for number, token in enumerate(tokens)}
    core, roles = _wordpiece.core(vocab, lower=True)
    return core, roles | {"do_lower_case": True}


def _unmarked(token: str) -> str:
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[1:] if token.startswith(SPACE) else f"##{token}"


MODELS = {
    "gpt2": _byte_bpe,
    "llama": lambda fields, tokens: _pieces(False, fields, tokens),
    "t5": lambda fields, tokens: _pieces(True, fields, tokens),
    "bert": _bert,
}
