"""The folder of an adapter: its tensors and, in `viva.json`, what it is and for which base. The base is not in it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from viva.base.choice import Choice
from viva.base.config import Config, parse
from viva.base.errors import Refusal
from viva.base.files import sha256, whole_folder, write_text
from viva.model import adapt, folder, tensors
from viva.model.folder import FORMAT, MANIFEST, Loaded
from viva.text.tokens.fingerprint import digest
from viva.text.tokens.tokenizer import Tokenizer

FILE = "adapter.safetensors"
PARTED = re.compile(r"[^.]+\.adapter\.parts\.")  # between a block and the piece of it that is changed
FREE = ("template", "roles", "other_roles", "frame", "segments")  # what a tokenizer may have other than the base's


class Adapter(Config):
    """What an adapter is, beside its tensors: its `config`, the folder or the hub's id of its `base`, the `fingerprint`
    of the base's weights, and the `head` that was trained with it in place of the base's.
    """

    config: Choice("viva.model.adapt")
    base: str
    fingerprint: str
    head: Choice("viva.model.head") | None = None


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
    """Whether a folder is that of an adapter."""
    return (Path(path) / FILE).is_file()


def read(path: str | Path) -> Adapter:
    """What the adapter in a folder is."""
    return parse(Adapter, (folder.manifest(Path(path)) or {}).get("adapter") or {}, name=f"{path}/{MANIFEST}")


def load(path: str | Path, base: str | Path, dtype: torch.dtype | None = None) -> tuple[Loaded, Adapter]:
    """The model in the folder `base` with the adapter in the folder `path`.

    Refused: a file that changed since it was written, an adapter of another base or of other tokens, a tensor missing
    or left over.
    """
    path, base = Path(path), Path(base)
    if (reason := folder.changed(path)) is not None:
        raise Refusal(f"{path} must be an intact adapter", reason, "load another one or save this one again")
    adapter, said = read(path), folder.manifest(path)
    if (there := fingerprint(base)) != adapter.fingerprint:
        must = (
            f"the base of {path} must be the one it was made for ({adapter.base}, weights {adapter.fingerprint[:12]})"
        )
        raise Refusal(must, f"{base}, weights {there[:12]}", f"load it with {adapter.base}, or tune this base anew")
    labels = said.get("labels") and tuple(said["labels"])
    head, classes = (adapter.head, labels) if adapter.head else (None, None)
    loaded = folder.load(base, dtype, lambda config: head, classes=classes)
    tokenizer = folder.own_tokenizer(path, said.get("tokenizer")) or loaded.tokenizer
    if loaded.tokenizer is not None:
        require_ids(loaded.tokenizer, tokenizer, str(base))
    adapt.attach(loaded.model, adapter.config, keep=("head",) if head else ())
    _fill(own(loaded.model, head is not None), tensors.opened(path / FILE), path)
    return Loaded(loaded.config, loaded.model.eval(), tokenizer, said, loaded.ignored, labels or loaded.labels), adapter


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
