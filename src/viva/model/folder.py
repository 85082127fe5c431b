"""The checkpoint folder: a Hugging Face folder with a manifest, `viva.json`, that says where it came from and what it
holds.

Written whole or not at all; read only after every file is seen to be the one that was written.
"""

import json
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from viva.base.choice import names, tagged, variant
from viva.base.config import Config, kind, parse, refusal
from viva.base.errors import Notice, Refusal, nearest
from viva.base.files import read_json, sha256, whole_folder, write_text
from viva.model import sentence, tensors
from viva.model.arch._family import Keys, their_kind
from viva.model.head import Vocabulary
from viva.model.init import hollow, initialise
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.model.whole import Whole
from viva.text.tokens import frame, read
from viva.text.tokens.fingerprint import Fingerprint
from viva.text.tokens.tokenizer import Tokenizer

FAMILIES = "viva.model.arch"
MANIFEST = "viva.json"
FORMAT = 1
ADAPTER = "adapter.safetensors"  # the tensors in the folder of an adapter, which has no model (model/adapter.py)
OWN_HEAD = "viva_head"  # the key of config.json for a head that the family's classes have not
BOTH_SIDES = (
    "save one side of it by transformers, CLIPTextModelWithProjection.from_pretrained(FOLDER).save_pretrained(SIDE) or "
    "CLIPVisionModelWithProjection likewise, and load that"
)
# what a folder of ours holds, beside the weights
WRITTEN = {
    "config.json",
    ADAPTER,
    tensors.INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    MANIFEST,
    *sentence.WRITTEN,
}


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory: its family's config, the model, the tokenizer if the folder has one, and the manifest.

    `ignored` names the keys of config.json that were set aside, each with the reason; `labels` are the names of the
    classes that the head tells apart, None where the folder says none; `new_head` says that the head is not the
    folder's.
    """

    config: Config
    model: Transformer
    tokenizer: Tokenizer | None
    manifest: dict[str, Any]
    ignored: dict[str, str]
    labels: tuple[str, ...] | None = None
    new_head: bool = False


def save(
    folder: str | Path,
    config: Config,
    model: Transformer,
    tokenizer: Tokenizer | None = None,
    notes: dict[str, Any] | None = None,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and, last, the manifest, which keeps `notes`.

    Of these, `labels` are the names of the head's classes, which config.json says too, as transformers reads them.
    `beside` may write further files into the folder before the manifest lists them all. The folder appears in one
    rename.
    """
    with whole_folder(folder) as new:
        family = variant(FAMILIES, tagged(config)["kind"])
        _describe(new, config, model, tokenizer, (notes or {}).get("labels"))
        tensors.save(new, family, model)
        if tokenizer is not None:
            _reading(tokenizer, model).save(new)
        if beside is not None:
            beside(new)
        said = {
            "format": FORMAT,
            "model": tagged(config),
            "tokenizer": tokenizer and tokenizer.fingerprint.model_dump(mode="json"),
            **(notes or {}),
            "files": hashes(new),
        }
        write_text(new / MANIFEST, json.dumps(said, indent=2, ensure_ascii=False))


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, by its name."""
    return {file.relative_to(folder).as_posix(): sha256(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def _reading(tokenizer: Tokenizer, model: Whole) -> Tokenizer:
    """The tokenizer by which others give a model what it was trained on: framed as what it reads is, a source, a prompt
    or a text whole, and with the segments that it tells apart. A model that others trained reads what it did before.
    """
    if model.spec.decoder is not None and isinstance(model.head, Vocabulary):
        return tokenizer.written(frame.around_prompt if model.spec.encoder is None else frame.around_source)
    framed, inputs = tokenizer.framed, ["input_ids", "token_type_ids", "attention_mask"]
    return Tokenizer(framed.core, framed.config | {"model_input_names": inputs}) if model.tells_segments else framed


def require_room(target: str | Path) -> None:
    """Refuse to save where something stands that is not a checkpoint of ours: replacing it would delete it."""
    target = Path(target)
    fix = "save to a new folder, or to one that viva wrote and nothing was added to"
    if target.exists() and not target.is_dir():
        raise Refusal(f"{target} must be a new folder or a checkpoint", "a file", fix)
    there = _within(target) if target.is_dir() else set()
    listed = {MANIFEST, *(manifest(target) or {}).get("files", {})} if there else set()
    ours = {name for name in listed if name in WRITTEN or (name.startswith("model") and name.endswith(".safetensors"))}
    ours |= {str(Path(name).parent) for name in ours}
    if target.resolve() == Path.cwd():
        raise Refusal(f"{target} must be a new folder or a checkpoint", "the folder you are in", fix)
    if foreign := sorted(there - ours):
        raise Refusal(f"{target} must be a new folder or a checkpoint", ", ".join(foreign[:5]), fix)


def require_savable(config: Config, model: Whole, tokenizer: Tokenizer | None = None) -> None:
    """Refuse, before it is trained, a model that `save` would refuse; a `Notice` says where its folder is one that only
    viva opens as what it is.
    """
    with tempfile.TemporaryDirectory() as place:
        other = _describe(Path(place), config, model, tokenizer)
        pooled = _misread(Path(place), config, tokenizer)
    if other is not None:
        text = (
            f"transformers has no class of {tagged(config)['kind']} with the head {told(model.spec.head)}: viva opens "
            f"what is saved as it is, transformers would compute something else, as if the head were {told(other)}"
        )
        warnings.warn(Notice(text), stacklevel=2)
    if pooled is not None:
        text = f"transformers will compute something else from what is saved: it pools {pooled}, and not the last token"
        warnings.warn(Notice(text), stacklevel=2)


def _misread(folder: Path, config: Config, tokenizer: Tokenizer | None) -> str | None:
    """What their class pools by the folder's config.json in place of what ours does, if it does."""
    misread = getattr(variant(FAMILIES, tagged(config)["kind"]), "misread", None)
    return misread and misread(config, tokenizer, read_json(folder / "config.json"))


def other_head(config: Config, model: Whole, tokenizer: Tokenizer | None = None) -> Config | None:
    """What transformers would take a model's head for, where no class of the family has it; None where one has."""
    with tempfile.TemporaryDirectory() as place:
        return _describe(Path(place), config, model, tokenizer)


def _describe(
    folder: Path,
    config: Config,
    model: Whole,
    tokenizer: Tokenizer | None,
    classes: tuple[str, ...] | None = None,
) -> Config | None:
    """Write what says what the model is, and see that it brings back the same one.

    A head that the family's classes cannot say stands in config.json under `viva_head`, where viva alone finds it. If
    it computes something else than theirs, no class is named there, and theirs is returned.
    """
    family, spec = variant(FAMILIES, tagged(config)["kind"]), config.spec()
    if _embeds(family, spec):
        sentence.write(folder, spec.head, spec.width)
    hf = _hf_config(family, config, model, tokenizer) | _named(spec, classes)
    write_text(folder / "config.json", json.dumps(hf, indent=2))
    own, theirs = _settled(spec).head, _settled(_read(folder)[2]).head
    other = theirs if _computed(own) != _computed(theirs) else None
    if own != theirs:
        named = {} if other is None else {"architectures": None}
        write_text(folder / "config.json", json.dumps({**hf, **named, OWN_HEAD: tagged(spec.head)}, indent=2))
    back = _read(folder)[2]
    lost = list(_differences(*(_settled(each).model_dump(mode="json") for each in (spec, back))))
    if lost:
        fix = "choose what the family has, or build the model with the kind custom"
        raise Refusal("the files of a family must be able to say what a model is", ", ".join(lost), fix)
    return other


def _settled(spec: Spec) -> Spec:
    """The spec with the head's pool, where it is left out, as the one that stands for it."""
    if getattr(spec.head, "pool", "") is not None:
        return spec
    return spec.model_copy(update={"head": spec.head.model_copy(update={"pool": spec.pool})})


def _computed(head: Config) -> Config:
    """What a head computes once it is trained: the same without dropout."""
    rates = [name for name in type(head).model_fields if name.endswith("dropout")]
    return head.model_copy(update=dict.fromkeys(rates, 0.0))


def told(head: Config) -> str:
    """The kind of a head, and its fields that are not the usual ones."""
    fields = head.model_dump(mode="json", exclude_defaults=True)
    return " ".join([kind(head), *(f"{name}={value!r}" for name, value in fields.items())])


def _differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two specs differ, as dotted names with both values."""
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        for key in one:
            yield from _differences(one[key], other[key], f"{place}.{key}".lstrip("."))
    elif one != other:
        yield f"{place} {one!r}, which they read as {other!r}"


def _embeds(family: Any, spec: Spec) -> bool:
    """Whether files of sentence-transformers can say what the head is, since config.json cannot."""
    states = "none" in family.HEADS and "embed" not in family.HEADS
    return states and kind(spec.head) == "embed" and spec.head.width is None


def _within(folder: Path) -> set[str]:
    """Everything in a folder, and in what of it one of ours may have inside."""
    inside = {Path(name).parent for name in WRITTEN}
    return {path.relative_to(folder).as_posix() for each in inside for path in (folder / each).glob("*")}


def _hf_config(family: Any, config: Config, model: Transformer, tokenizer: Tokenizer | None) -> dict[str, Any]:
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    ids = _placeholders(family, config) if tokenizer is None else _roles(model, tokenizer)
    stands, states = family.to_hf(config), next(iter(family.HEADS.values()))
    own = "none" if _embeds(family, model.spec) else their_kind(model.spec.head)
    architecture = family.HEADS.get(own, family.HEADS.get("none", states))
    for key in set(stands) & set(ids):
        if stands[key] != ids[key]:
            must = f"the tokenizer of this {family.MODEL_TYPE} model must have the {key} {stands[key]}"
            raise Refusal(must, ids[key], f"build the model with {key.split('_')[0]}: {ids[key]}")
    head = {"model_type": family.MODEL_TYPE, "architectures": [architecture], "dtype": dtype}
    return {**head, **stands, **ids, **_forced(model, tokenizer)}


def _placeholders(family: Any, config: Config) -> dict[str, Any]:
    """The keys that a family's class cannot do without, where no tokenizer says them."""
    return family.placeholders(config) if hasattr(family, "placeholders") else {}


def _roles(model: Whole, tokenizer: Tokenizer) -> dict[str, int | None]:
    """The ids with a role. Where texts end in the padding token, no padding is named beside a class by the last token:
    transformers would take an earlier one for the last, and so it refuses to pad.
    """
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_id") for role in ("bos", "eos", "pad")}
    by_the_last = their_kind(model.spec.head) == "classify" and model.spec.decoder is not None
    ends = tokenizer.around_whole[1]
    return ids | ({"pad_token_id": None} if by_the_last and ends[-1:] == [tokenizer.pad_id] else {})


def _forced(model: Whole, tokenizer: Tokenizer | None) -> dict[str, int]:
    """The key that lets a reply begin, behind the start, with what the tokenizer sets before a text, as BART's do."""
    translates = model.spec.encoder is not None and model.spec.decoder is not None
    before = tokenizer.around_source[0] if translates and tokenizer is not None else []
    return {"forced_bos_token_id": before[0]} if len(before) == 1 else {}


def _named(spec: Spec, classes: tuple[str, ...] | None) -> dict[str, Any]:
    """The keys by which a config.json names the classes of a head that has as many."""
    if not classes or len(classes) != getattr(spec.head, "labels", None):
        return {}
    return {
        "id2label": {str(number): name for number, name in enumerate(classes)},
        "label2id": {name: number for number, name in enumerate(classes)},
    }


def labels(folder: Path) -> tuple[str, ...] | None:
    """The names of the classes that a head tells apart, in the order of their numbers, as viva.json or config.json
    says them; None where neither does. The names that transformers makes up for want of others are none.
    """
    if (said := (manifest(folder) or {}).get("labels")) is not None:
        return tuple(said)
    file = folder / "config.json"
    found = read_json(file).get("id2label") if file.is_file() else None
    if not isinstance(found, dict):
        return None
    names = [found.get(str(number)) for number in range(len(found))]
    made_up = [f"LABEL_{number}" for number in range(len(found))]
    unknown = not names or None in names or names == made_up or len({*map(str, names)}) < len(names)
    return None if unknown else tuple(map(str, names))


def load(
    folder: str | Path,
    dtype: torch.dtype | None = None,
    head: Callable[[Config], Config | None] = lambda config: None,
    seed: int = 0,
    classes: tuple[str, ...] | None = None,
    kept_as: Callable[[str, nn.Module], nn.Module] = lambda name, module: module,
) -> Loaded:
    """Read a checkpoint of ours or any Hugging Face folder of a known family; `dtype` None keeps the file's.

    `head` says by the folder's config which head is wanted. One other than the folder's takes its place, with starting
    weights by `seed`; a `Notice` says what is left out. So does a new head of the same form, where `classes`, the names
    of those wanted, are not the folder's. `kept_as(name, module)` is what stands in a module's place as soon as its
    weights are read.
    Refused: a file whose hash is not the manifest's, an unknown family or key, a tensor missing or left over, a pickle,
    the folder's classes in another order.
    """
    folder = Path(folder)
    if (folder / ADAPTER).is_file():
        fix = "make one model of the two: viva merge BASE ADAPTER OUT"
        raise Refusal(f"{folder} must hold a whole model", "an adapter without its base", fix)
    if (reason := fault(folder)) is not None:
        raise Refusal(
            f"{folder} must be an intact checkpoint", reason, "load another checkpoint or save this one again"
        )
    family, config, spec, ignored = _read(folder)
    wanted = head(config)
    named = labels(folder)
    named = named if len(named or ()) == getattr(spec.head, "labels", None) else None
    new_head = wanted is not None and (wanted != spec.head or _others(folder, named, classes))
    if new_head:
        config = config.model_copy(update={"head": wanted})
        spec = config.spec()
    with hollow():
        model = spec.build()
    if new_head:
        model.head = spec.head.build(spec)
        initialise(model, seed, part="head")
    tensors.load(folder, family, model, dtype, new_head, kept_as)
    said = manifest(folder) or {}
    tokenizer = own_tokenizer(folder, said.get("tokenizer"))
    if not said and (pooled := _misread(folder, config, tokenizer)) is not None:
        text = f"transformers computes something else from {folder}: it pools {pooled}, and not the last token"
        warnings.warn(Notice(text), stacklevel=2)
    return Loaded(config, model.eval(), tokenizer, said, ignored, None if new_head else named, new_head)


def architecture(folder: str | Path) -> Spec:
    """The architecture that a folder's config.json says, without its weights."""
    return _read(Path(folder))[2]


def own_tokenizer(folder: Path, made_with: dict | None) -> Tokenizer | None:
    """The folder's tokenizer; it must be the one of the fingerprint `made_with`, where there is one."""
    tokenizer = _readable(folder)
    if made_with:
        expected = parse(Fingerprint, made_with, name=f"the tokenizer of {folder / MANIFEST}")
        if tokenizer is None:
            fix = "put the tokenizer's files beside it, or save the model again"
            raise Refusal(f"{folder} must hold the tokenizer that it was made with", "no tokenizer.json", fix)
        if expected.frame != tokenizer.fingerprint.frame:
            tokenizer = tokenizer.for_training  # of a folder that viva wrote before its tokenizer's files said so
        expected.require(tokenizer.fingerprint, str(folder))
    if tokenizer is not None and (longest := sentence.longest(folder)) is not None:
        tokenizer.config["model_max_length"] = longest
    return tokenizer


def _readable(folder: Path) -> Tokenizer | None:
    """The tokenizer of the folder in whatever form; of another form than tokenizer.json it may be one that cannot be
    read, which is said: a model can be used without.
    """
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.load(folder)
    try:
        return Tokenizer.load(folder) if read.holds_one(folder) else None
    except Refusal as refusal:
        warnings.warn(Notice(f"{folder} is loaded without its tokenizer: {refusal}"), stacklevel=4)
        return None


def _others(folder: Path, own: tuple[str, ...] | None, wanted: tuple[str, ...] | None) -> bool:
    """Whether a head of `own` classes must make room for one of the `wanted`: a number would mean another class."""
    if wanted is None or wanted == own:
        return False
    if own is None:
        warnings.warn(Notice(f"{folder} does not name its classes; they are taken to be {_row(wanted)}"), stacklevel=3)
        return False
    if sorted(own) == sorted(wanted):
        fix = "leave format.labels out, or give them in the model's order"
        raise Refusal(f"the classes must be in the order of {folder}, {_row(own)}", _row(wanted), fix)
    text = f"the head of {folder} tells {_row(own)} apart; a new one takes its place for {_row(wanted)}"
    warnings.warn(Notice(text), stacklevel=3)
    return True


def _row(names: tuple[str, ...], most: int = 8) -> str:
    """Names of classes for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def _read(folder: Path) -> tuple[Any, Config, Spec, dict[str, str]]:
    """The family of a folder, its config with the Spec that it stands for, and the keys that were set aside."""
    keys = Keys(read_json(folder / "config.json"), str(folder / "config.json"))
    family = _family(keys)
    config = _understood(family, keys, folder)
    return family, config, config.spec(), keys.ignored


def _understood(family: Any, keys: Keys, folder: Path) -> Config:
    """The config that the keys say, all of which must be known and of their types, with the head that other files or
    our own key name.
    """
    try:
        head = keys.take(OWN_HEAD, None)
        keys.require_class(family.HEADS)
        config = family.from_hf(keys)
        keys.finish()
        head = sentence.head(folder) if head is None else head
        config = config if head is None else type(config).model_validate({**dict(config), "head": head})
        config.spec()
        return config
    except ValidationError as error:
        raise refusal(error, keys.where) from None


def _family(keys: Keys) -> Any:
    """The module of the family that `model_type` names."""
    families = {module.MODEL_TYPE: module for module in (variant(FAMILIES, name) for name in names(FAMILIES))}
    wanted = keys.take("model_type")
    if str(wanted) not in families:
        fix = nearest(str(wanted), sorted(families)).replace("use", "load a model of type", 1)
        fix = BOTH_SIDES if wanted == "clip" else fix
        raise Refusal(f"model_type in {keys.where} must be a known family", repr(wanted), fix)
    return families[wanted]


def fault(folder: str | Path) -> str | None:
    """Why `folder` is not a valid checkpoint, or None if it is; with a manifest every file's hash is checked."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        return "no config.json" if folder.is_dir() else "no such folder"
    return changed(folder)


def changed(folder: Path) -> str | None:
    """Why the files of a folder are not those that its manifest lists, or None if they are."""
    try:
        listed = (manifest(folder) or {}).get("files", {})
        if not isinstance(listed, dict):
            return f"{MANIFEST} is damaged (its files are {listed!r})"
    except Refusal as damage:
        return f"{MANIFEST} is damaged ({damage.found})"
    for name, expected in listed.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if sha256(folder / name) != expected:
            return f"{name} has changed since it was written"
    return None


def manifest(folder: Path) -> dict[str, Any] | None:
    """What viva.json says, or None where there is none."""
    path = folder / MANIFEST
    return read_json(path) if path.is_file() else None
