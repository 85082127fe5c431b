"""SentencePiece's .model files, Unigram and BPE (github.com/google/sentencepiece, sentencepiece_model.proto)."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from viva.base.errors import Notice, Refusal
from viva.text.tokens import special
from viva.text.tokens.read import _files
from viva.text.tokens.read._frame import set_frame
from viva.text.tokens.read._pieces import Kind, Piece, Pieces

FILES = "a SentencePiece .model file"
TOLD = ("tokenizer_class",)
FIRST = b"\n"  # the field of pieces, which comes first
ALGORITHMS = {1: "unigram", 2: "bpe"}
ROLES = ("unk", "bos", "eos", "pad")


def find(place: Path) -> Path | None:
    file = _files.the_file(place, "*.model")
    return file if file and _files.content(file).startswith(FIRST) else None


def read(file: Path, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    model = _proto(file)
    pieces = _pieces(file, model)
    given = {f"{role}_token": getattr(model.trainer_spec, f"{role}_id") for role in ROLES}
    roles = {role: pieces.all[number].text for role, number in given.items() if 0 <= number < len(pieces.all)}
    roles = {role: token for role, token in roles.items() if token in _specials(pieces)}
    return _of_class(file, pieces, roles | config)


def _proto(file: Path) -> Any:
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        fix = "pip install 'viva[sentencepiece]'"
        raise Refusal(f"reading {file} needs the library sentencepiece with protobuf", error, fix) from None
    from google.protobuf.message import DecodeError

    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(_files.content(file))
    except DecodeError as error:
        raise Refusal(f"{file} must be an intact SentencePiece model", error, "fetch it again") from None
    return model


def _pieces(file: Path, model: Any) -> Pieces:
    trained, normal = model.trainer_spec, model.normalizer_spec
    algorithm = ALGORITHMS.get(trained.model_type)
    if algorithm is None:
        raise Refusal(f"{file} must be a Unigram or a BPE model", f"type {trained.model_type}", "train one of these")
    if trained.treat_whitespace_as_suffix or not normal.escape_whitespaces:
        found = "spaces that follow their words, or stay spaces"
        raise Refusal(f"{file} must write the space before a word as part of it", found, "use a model that does")
    if normal.name.endswith("_cf"):
        text = f"{file} folds cases by rules of which the library applies one to a letter: of its marks some are lost"
        warnings.warn(Notice(text), stacklevel=6)
    listed = [Piece(piece.piece, piece.score, Kind(piece.type)) for piece in model.pieces]
    return Pieces(
        listed,
        algorithm == "unigram",
        normal.precompiled_charsmap,
        normal.add_dummy_prefix,
        normal.remove_extra_whitespaces,
    )


def _specials(pieces: Pieces) -> set[str]:
    return {piece.text for piece in pieces.all if piece.kind in (Kind.CONTROL, Kind.UNKNOWN)}


def _of_class(file: Path, pieces: Pieces, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """What the class of a family's tokenizer makes of the pieces; one that is not known here is refused, for many give
    other ids.
    """
    said = str(config.get("tokenizer_class") or "").removesuffix("Fast")
    if not said and file.name.startswith("sentencepiece.bpe"):
        fix = 'write it, such as {"tokenizer_class": "XLMRobertaTokenizer"}, into a tokenizer_config.json beside it'
        raise Refusal(f"a file beside {file} must name the class of its tokenizer, which gives the ids", "none", fix)
    if said not in CLASSES:
        fix = "save it as tokenizer.json with transformers, and load that"
        raise Refusal(f"the class of {file} must be one of {', '.join(filter(None, CLASSES))}", repr(said), fix)
    return CLASSES[said](pieces, config)


def _plain(pieces: Pieces, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The ids are the pieces' own."""
    return pieces.core(), config


def _begun(pieces: Pieces, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """LLaMA's: a text begins with <s>, and ends with </s> where the file beside it says so."""
    core, config = pieces.core(), {"add_bos_token": True, "add_eos_token": False} | config
    before, after = (config[f"{role}_token"] if config[f"add_{role}_token"] else None for role in ("bos", "eos"))
    set_frame(core, special.word(before), special.word(after))
    return core, config


def _with_sentinels(pieces: Pieces, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """T5's: 100 more tokens, the first of them the last id (Raffel et al. 2020, section 3.1.4); </s> after a text."""
    core, count = pieces.core(), int(config.get("extra_ids") or 100)
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(count))]
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in sentinels])
    set_frame(core, None, "</s>")
    return core, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"} | config


def _of_fairseq(pieces: Pieces, config: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """XLM-R's, whose ids are fairseq's: <s> <pad> </s> <unk>, the pieces from the third on, <mask>."""
    special = [Piece(text, 0.0, Kind.UNKNOWN if text == "<unk>" else Kind.CONTROL) for text in FAIRSEQ]
    mask = Piece("<mask>", 0.0, Kind.CONTROL)
    core = dataclasses.replace(pieces, all=[*special, *pieces.all[3:], mask]).core()
    core.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, core.token_to_id(token)) for token in ("<s>", "</s>")],
    )
    roles = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return core, roles | {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"} | config


FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
CLASSES = {
    "": _plain,
    "LlamaTokenizer": _begun,
    "GemmaTokenizer": _begun,
    "T5Tokenizer": _with_sentinels,
    "XLMRobertaTokenizer": _of_fairseq,
}
