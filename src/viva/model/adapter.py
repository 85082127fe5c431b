"""The folder of an adapter: its tensors and, in `viva.json`, what it is and for which base. The base is not in it."""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn

from viva.base.choice import Choice, variant
from viva.base.config import Config, kind, parse
from viva.base.errors import Notice, Refusal
from viva.base.files import sha256, whole_folder, write_text
from viva.model import adapt, folder, tensors
from viva.model.adapt import peft
from viva.model.folder import FORMAT, MANIFEST, Loaded
from viva.model.init import hollow
from viva.text.tokens.fingerprint import digest
from viva.text.tokens.tokenizer import Tokenizer

FILE = folder.ADAPTER
PARTED = re.compile(r"[^.]+\.adapter\.parts\.")  # between a block and the piece of it that is changed
FREE = ("template", "roles", "other_roles", "frame", "segments")  # what a tokenizer may have other than the base's


class Adapter(Config):
    """What an adapter is, beside its tensors: its `config`, the folder or the hub's id of its `base`, the `fingerprint`
    of the base's weights, and the `head` that was trained with it in place of the base's. `source`: where it was read.
    """

    config: Choice("viva.model.adapt")
    base: str
    fingerprint: str
    head: Choice("viva.model.head") | None = None
    source: str | None = Field(None, exclude=True)


def fingerprint(base: Path) -> str:
    """The SHA-256 of a folder's weights; of several files, that of their hashes."""
    listed = (folder.manifest(base) or {}).get("files", {})
    files = sorted(path.name for path in base.glob("model*.safetensors"))
    hashes = {name: listed.get(name) or sha256(base / name) for name in files}
    return next(iter(hashes.values())) if len(hashes) == 1 else digest(hashes)


def own(model: nn.Module, head: bool) -> dict[str, Tensor]:
    """The tensors of the model's adapter, by the names of the pieces they change; with `head` those of the head too."""
    return {
        PARTED.sub("", name): tensor
        for name, tensor in model.named_parameters()
        if ".adapter." in f".{name}" or (head and name.startswith("head."))
    }


def save(
    target: str | Path,
    adapter: Adapter,
    model: nn.Module,
    tokenizer: Tokenizer | None = None,
    notes: dict[str, Any] | None = None,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Write adapter.safetensors, the tokenizer's files and, last, viva.json; `notes` and `beside` as in folder.save."""
    with whole_folder(target) as new:
        held = own(model, adapter.head is not None)
        save_file({name: tensor.detach().contiguous() for name, tensor in held.items()}, new / FILE)
        if tokenizer is not None:
            tokenizer.save(new)
        if beside is not None:
            beside(new)
        said = {
            "format": FORMAT,
            "adapter": adapter.model_dump(mode="json"),
            "tokenizer": tokenizer and tokenizer.fingerprint.model_dump(mode="json"),
            **(notes or {}),
            "files": folder.hashes(new),
        }
        write_text(new / MANIFEST, json.dumps(said, indent=2, ensure_ascii=False))


def holds_one(path: str | Path) -> bool:
    """Whether a folder is that of an adapter, of ours or of PEFT's."""
    return (Path(path) / FILE).is_file() or peft.holds_one(Path(path))


def require_one(path: Path) -> None:
    """Refuse a folder that is that of no adapter."""
    if holds_one(path):
        return
    whole, fix = (path / "config.json").is_file(), "give a folder that tuning with an adapter made, of viva's or PEFT's"
    if whole:
        raise Refusal(f"{path} must be an adapter", "a whole model", f"give it as the model itself, or {fix}")
    raise Refusal(f"{path} must be an adapter", f"neither {FILE} nor PEFT's adapter_config.json", fix)


def fault(path: Path) -> str | None:
    """Why a folder is neither a valid checkpoint nor a valid adapter of ours, or None if it is one of them."""
    return folder.changed(path) if (path / FILE).is_file() else folder.fault(path)


def base_of(path: str | Path) -> str | None:
    """The folder or the hub's id of the base that the adapter in a folder names."""
    return peft.base(Path(path)) if peft.holds_one(Path(path)) else read(path).base


def read(path: str | Path) -> Adapter:
    """What the adapter in a folder is."""
    return parse(Adapter, (folder.manifest(Path(path)) or {}).get("adapter") or {}, name=f"{path}/{MANIFEST}")


def load(path: str | Path, base: str | Path, dtype: torch.dtype | None = None) -> tuple[Loaded, Adapter]:
    """The model in the folder `base` with the adapter in the folder `path`; refused as by `onto`."""
    require_one(Path(path))
    ours = {} if peft.holds_one(Path(path)) else {"kept_as": read(path).config.kept_as}
    return onto(folder.load(base, dtype, **ours), Path(base), Path(path))


def base_in(path: Path, located: Callable[[str], Path]) -> Path:
    """The folder of a model's own weights: `path`, or that of the base which the adapter in `path` names and `located`
    finds; refused where it names none.
    """
    if not holds_one(path):
        return path
    if (base := base_of(path)) is None:
        raise Refusal(f"the adapter {path} must name its base", "none", "write base_model_name_or_path into its config")
    return located(base)


def whole(path: Path, located: Callable[[str], Path], dtype: torch.dtype | None = None) -> Loaded:
    """The model in a folder: of an adapter with the base that it names, which `located` finds."""
    if (base := base_in(path, located)) == path:
        return folder.load(path, dtype)
    loaded, adapter = load(path, base, dtype)
    adapter.config.folded(loaded.model)
    return loaded


def onto(base: Loaded, where: Path, path: Path) -> tuple[Loaded, Adapter]:
    """The base, read from the folder `where`, with the adapter in the folder `path`. They share the base's weights.

    Refused: a folder that holds no adapter, a file that changed since it was written, an adapter of another base or of
    other tokens, a tensor missing or left over.
    """
    require_one(path)
    read_one = _peft if peft.holds_one(path) else _ours
    adapter, stored, said = read_one(base, where, path)
    tokenizer = folder.own_tokenizer(path, said.get("tokenizer")) or base.tokenizer
    if base.tokenizer is not None:
        require_ids(base.tokenizer, tokenizer, str(where))
    config, model = base.config, adapt.twin(base.model)
    if adapter.head is not None:
        config = config.model_copy(update={"head": adapter.head})
        model.spec = config.spec()
        model.head = model.spec.head.build(model.spec).to(model.embedding.weight)
    keep = ("head",) if adapter.head else ()
    adapt.attach(model, adapter.config, keep=keep, encode=lambda text: [0])  # whatever it begins as, it is filled
    _fill(own(model, adapter.head is not None), stored, path)
    kept = base.labels if len(base.labels or ()) == getattr(config.spec().head, "labels", None) else None
    labels = tuple(said["labels"]) if said.get("labels") else kept
    adapter = adapter.model_copy(update={"source": str(path.resolve())})
    return Loaded(config, model.eval(), tokenizer, said, base.ignored, labels), adapter


def _ours(base: Loaded, where: Path, path: Path) -> tuple[Adapter, dict[str, Tensor], dict[str, Any]]:
    """What an adapter is, its tensors, and what its viva.json says besides."""
    if (reason := folder.changed(path)) is not None:
        raise Refusal(f"{path} must be an intact adapter", reason, "load another one or save this one again")
    adapter, there = read(path), fingerprint(where)
    if there != adapter.fingerprint:
        must = (
            f"the base of {path} must be the one it was made for ({adapter.base}, weights {adapter.fingerprint[:12]})"
        )
        raise Refusal(must, f"{where}, weights {there[:12]}", f"load it with {adapter.base}, or tune this base anew")
    return adapter, tensors.opened(path / FILE), folder.manifest(path)


def _peft(base: Loaded, where: Path, path: Path) -> tuple[Adapter, dict[str, Tensor], dict[str, Any]]:
    """The same of PEFT's files, which do not say what the weights of their base were."""
    family = variant(folder.FAMILIES, kind(base.config))
    config, stored, head = peft.read(path, family, base.config, base.model, where)
    text = f"{path} does not say which weights it was made for: that {where} are these is taken on trust"
    warnings.warn(Notice(text), stacklevel=3)
    named = {"config": config, "base": str(where), "fingerprint": fingerprint(where)}
    return Adapter(**named, head=head), stored, {}


def save_as_peft(target: str | Path, family: Config, adapter: Adapter, model: nn.Module) -> None:
    """Write the files that PEFT opens on the base's folder of transformers; refused: a kind of adapter that it has not,
    a new head that no class of transformers has.
    """
    if adapter.head is not None and folder.other_head(family, model) is not None:
        must, fix = (
            "a head that was trained must be one of a class of transformers for PEFT",
            "keep it in viva's own form",
        )
        raise Refusal(must, folder.told(adapter.head), fix)
    module = variant(folder.FAMILIES, kind(family))
    with hollow():
        plain = family.spec().build()
    peft.write(target, module, model, plain, adapter.config, adapter.base, adapter.head is not None)


def require_ids(own: Tokenizer, tokens: Tokenizer, name: str) -> None:
    """Refuse a tokenizer whose ids are not those that the model `name` learned; another chat template, other roles or
    another frame may be given with them.
    """
    free = {part: getattr(tokens.fingerprint, part) for part in FREE}
    own.fingerprint.model_copy(update=free).require(tokens.fingerprint, name)


@torch.no_grad()
def _fill(own: dict[str, Tensor], stored: dict[str, Tensor], path: Path) -> None:
    """Copy what is stored into the model's own tensors, each of both sides matched."""
    odd = sorted({*own} ^ {*stored}) or [name for name in own if own[name].shape != stored[name].shape]
    if odd:
        fix = "use the viva.json that they were written with"
        raise Refusal(f"the tensors of {path} must be those of the adapter it names", tensors.listed(odd), fix)
    if broken := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        found, fix = f"NaN or infinity in {tensors.listed(broken)}", "save it again, or use an earlier checkpoint"
        raise Refusal(f"the tensors of {path} must be finite", found, fix)
    for name, tensor in own.items():
        tensor.copy_(stored[name])
