"""vocab.json and merges.txt: the byte-level BPE of GPT-2, RoBERTa, Whisper and Qwen2, and CLIP's with ends of words.

The files do not say how a text is split into words; the class that tokenizer_config.json names does, or the model's
type in config.json.
"""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from viva.base.errors import Refusal
from viva.text.tokens.read import _byte_level, _clip, _files, _known
from viva.text.tokens.read._byte_level import KINDS

FILES = "vocab.json with merges.txt"
TOLD = ("pattern",)
VOCABS, MERGES = ("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")

FRAMED = {  # the roles of RoBERTa's special tokens, which its file holds without saying so
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


def find(place: Path) -> Path | None:
    file = _files.the_file(place, *VOCABS) or (place.is_file() and _files.the_file(place, *MERGES)) or None
    return file if file and _pair(file) else None


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    vocab, merges = _pair(file)
    vocab, merges, kind = _files.vocabulary(vocab), _merges(merges), _kind(file, config)
    told = config.pop("pattern", None)
    if kind == "clip" or (not told and kind is None and _clip.ends_words(vocab)):
        return _clip.core(vocab, merges), _clip.ROLES | config
    if told is None and kind is None:
        must = (
            f"a file beside {file.name} must name the tokenizer's class or the model's type, one of {', '.join(KINDS)}"
        )
        raise Refusal(must, config.get("tokenizer_class", "none"), _byte_level.to_be_told(file.parent))
    known = _known.told(told or {"roberta": "gpt2"}.get(kind, kind))
    if kind == "roberta":
        return _framed(_byte_level.prefixed(_byte_level.core(vocab, merges, known), config), config)
    specials, roles = known.specials, known.roles
    if len(vocab) != known.ranks:  # else the special tokens stand elsewhere
        specials = {token: vocab[token] for token in roles.values() if token in vocab}
        roles = {role: token for role, token in roles.items() if token in vocab}
    return _byte_level.prefixed(_byte_level.core(vocab, merges, known, specials), config), roles | config


def _pair(file: Path) -> tuple[Path, Path] | None:
    """The vocabulary and the merges that lie together, one of which is `file`; None where the other is missing."""
    vocab = _files.the_file(file.parent, *VOCABS)
    merges = _files.the_file(file.parent, *MERGES)
    return (vocab, merges) if vocab and merges else None


def _kind(file: Path, config: dict[str, Any]) -> str | None:
    """What the folder's files say it is: a key of KINDS, as its value."""
    model = str(_files.beside(file.parent, "config.json").get("model_type") or "")
    return _byte_level.kind(config) or KINDS.get(model)


def _merges(file: Path) -> list[tuple[str, str]]:
    lines = _files.lines(file)
    pairs = [tuple(line.split(" ")) for line in lines[lines[0].startswith("#version") :] if line]
    for number, pair in enumerate(pairs):
        if len(pair) != 2:
            raise Refusal(f"{file} must hold two tokens a line", f"{pair} in merge {number}", "fetch it again")
    return pairs


def _framed(core: tokenizers.Tokenizer, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """RoBERTa's: <s> text </s>, and <s> one </s></s> other </s>; the space before a mask belongs to it."""
    core.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    ends = [(token, core.token_to_id(token)) for token in ("</s>", "<s>")]
    core.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    return core, FRAMED | config
