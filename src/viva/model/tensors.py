"""Weights in safetensors under a family's names: written, and read back bit for bit, each tensor accounted for."""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from viva.base.errors import Notice, Refusal
from viva.base.files import read_json
from viva.model.arch._family import Held, their_kind
from viva.model.linear.joined import assemble, pieces
from viva.model.transformer import Transformer

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = "model{suffix}.safetensors"
FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
TIED = (  # names under which a file may hold the token embeddings once more
    "lm_head.weight",
    "cls.predictions.decoder.weight",
    "lm_head.decoder.weight",
    "predictions.decoder.weight",
    "vocab_projector.weight",
    "generator_lm_head.weight",
    "crit.out_layers.0.weight",
    "encoder.embed_tokens.weight",
    "decoder.embed_tokens.weight",
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
)
COPIES = {  # a masked head's bias, which a file may hold once more
    "lm_head.decoder.bias": "lm_head.bias",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "predictions.decoder.bias": "predictions.bias",
}
TABLE = 1e-4  # angles in single precision, of a place in the thousands, are off by nearly as much
BUFFERS = (
    ".position_ids",
    ".attn.bias",
    ".attn.masked_bias",
    ".rotary_emb.inv_freq",
)  # tables some old checkpoints carry; we compute them


def named(family: Any, model: Transformer) -> Iterator[Held]:
    """The family's table for this model: a row for each of their tensors, layers written out, absent ones left out."""
    ours = pieces(model)
    if not family.TENSORS:
        yield from (Held(name, (name,)) for name in ours)
    wanted = their_kind(model.spec.head)
    for row in family.TENSORS:
        if row.head not in (None, wanted) or (row.when and not row.when(model.spec)):
            continue
        stack = getattr(model, row.ours[0].split(".")[0]) if "{i}" in row.theirs else None
        for i in range(len(stack.layers) if stack is not None else "{i}" not in row.theirs):
            for e in count() if "{e}" in row.theirs else range(1):  # as many experts as the layer has
                theirs, *names = (n.replace("{i}", str(i)).replace("{e}", str(e)) for n in (row.theirs, *row.ours))
                if names[0] not in ours:
                    break
                yield replace(row, theirs=theirs, ours=tuple(names))
    heads = {name for row in family.TENSORS if row.head in (None, wanted) for name in row.ours}
    if family.TENSORS:  # of a head that the family has not, by our own names
        yield from (Held(name, (name,)) for name in ours if name.startswith("head.") and name not in heads)


def save(folder: Path, family: Any, model: Transformer, shard: str = "5GB") -> None:
    """Write model.safetensors, or shards of at most `shard` bytes with their index."""
    from huggingface_hub import split_torch_state_dict_into_shards

    ours, theirs, rows = pieces(model), {}, list(named(family, model))
    if unnamed := sorted(set(ours) - {name for row in rows for name in row.ours}):
        must = f"the tensors of a {family.MODEL_TYPE} model must all have names there"
        raise Refusal(must, f"none for {listed(unnamed)}", "build the model with the kind custom")
    for row in rows:
        joined = torch.cat([ours[name].detach() for name in row.ours])
        theirs[row.theirs] = (joined.T if row.transposed else joined[(None,) * row.flat]).contiguous()
    split = split_torch_state_dict_into_shards(theirs, filename_pattern=SHARD, max_shard_size=shard)
    for file, names in split.filename_to_tensors.items():
        save_file({name: theirs[name] for name in names}, folder / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")


def load(
    folder: Path,
    family: Any,
    model: Transformer,
    dtype: torch.dtype | None = None,
    new_head: bool = False,
    kept_as: Callable[[str, nn.Module], nn.Module] = lambda name, module: module,
) -> None:
    """Give the model, built on the meta device, the tensors of `folder`; each of both sides must be matched.

    With `new_head` the model's head is not in the folder, and the one that is there is left out. `kept_as` as of
    `assemble`.
    """
    rows = [row for row in named(family, model) if not (new_head and _of_head(row))]
    stored = _without_copies(read(folder), folder)
    prefix, known = family.BASE, {row.theirs for row in rows}
    if prefix and not any(name.startswith(prefix) for name in stored):
        stored = {name if name in {*known, *TIED} else prefix + name: tensor for name, tensor in stored.items()}
    unread = (*BUFFERS, *getattr(family, "UNREAD", ()))
    stored = {name: tensor for name, tensor in stored.items() if not name.endswith(unread)}
    _same_as_computed(stored, family, folder)
    _same_as_embedding(stored, rows, family, folder, new_head)
    _set_aside(stored, known, family, folder, new_head)
    _by_their_names(stored, rows)
    shapes = {name: piece.shape for name, piece in pieces(model).items()}
    stored = _zeros(family, rows, shapes, like=next(iter(stored.values()), torch.empty(0))) | stored
    missing = sorted(known - set(stored))
    unexpected = sorted(set(stored) - known)
    if missing or unexpected:
        found = f"missing: {listed(missing)}; unexpected: {listed(unexpected)}"
        raise Refusal(
            f"the tensors of {folder} must be those of its config.json", found, "use the config.json they came with"
        )
    found: dict[str, Tensor] = {}
    for row in rows:
        joined = stored.pop(row.theirs)
        joined = joined.T if row.transposed else _flattened(joined, row.flat)
        parts = _parted(row, joined, shapes, folder)
        found |= zip(row.ours, parts, strict=True)
    _require_numbers(found, folder, dtype)
    like = dtype or next(iter(found.values())).dtype
    if new_head:
        found |= {name: part for name, part in pieces(model).items() if name.startswith("head.")}
    assemble(model, found, lambda part: part.to(like).contiguous(), kept_as)


def _require_numbers(found: dict[str, Tensor], folder: Path, dtype: torch.dtype | None) -> None:
    """Weights are finite floating-point numbers, all of one dtype unless another is asked for.

    Attention's kernel on the CPU would hide a NaN in the queries.
    """
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in found.values()})
    whole = sorted(name for name, tensor in found.items() if tensor.dtype not in FLOATS)
    if whole:
        fix = "save it unquantised"
        raise Refusal(f"the weights in {folder} must be floating-point numbers", f"others in {listed(whole)}", fix)
    if len(dtypes) > 1 and dtype is None:
        fix = "load it with one, for example dtype float32"
        raise Refusal(f"the weights in {folder} must have one dtype", listed(dtypes), fix)
    broken = [name for name, tensor in found.items() if not torch.stack(tensor.aminmax()).isfinite().all()]
    if broken:
        fix = "download the folder again, or use an earlier checkpoint"
        raise Refusal(f"the weights in {folder} must be finite", f"NaN or infinity in {listed(broken)}", fix)


def _zeros(family: Any, rows: list[Held], shapes: dict[str, torch.Size], like: Tensor) -> dict[str, Tensor]:
    """What transformers, too, takes to be zero where a file leaves it out."""
    left_out = getattr(family, "ZEROS", ())
    return {row.theirs: like.new_zeros(shapes[row.ours[0]]) for row in rows if row.theirs in left_out}


def _parted(row: Held, joined: Tensor, shapes: dict[str, torch.Size], folder: Path) -> list[Tensor]:
    expected = torch.Size((sum(shapes[name][0] for name in row.ours), *shapes[row.ours[0]][1:]))
    if joined.shape != expected:
        found = f"{tuple(joined.shape)} for {row.theirs}, where config.json asks for {tuple(expected)}"
        raise Refusal(
            f"the tensors of {folder} must have the shapes of its config.json", found, "use the matching config.json"
        )
    return list(joined.split([shapes[name][0] for name in row.ours]))


def _flattened(tensor: Tensor, flat: int) -> Tensor:
    """Without the first `flat` axes, if they are of length 1."""
    return tensor.view(tensor.shape[flat:]) if tensor.shape[:flat] == (1,) * flat else tensor


def _of_head(row: Held) -> bool:
    return row.ours[0].startswith("head.")


def _set_aside(stored: dict[str, Tensor], known: set[str], family: Any, folder: Path, new_head: bool) -> None:
    """What belongs to a head that is not the model's is left out, and said."""
    others = {row.theirs for row in family.TENSORS if row.head is not None or (new_head and _of_head(row))}
    if new_head:
        others |= {name for name in stored if name.startswith("head.")}
    others = others & set(stored) - known
    for name in others:
        del stored[name]
    if others:
        text = f"{folder} holds a head that this model has not: {listed(sorted(others))} are left out"
        warnings.warn(Notice(text), stacklevel=2)


def _by_their_names(stored: dict[str, Tensor], rows: list[Held]) -> None:
    """Give a head its names: a folder has it by ours that was written before the family's table had the head."""
    for row in rows:
        if _of_head(row) and row.ours[0] in stored:
            stored.setdefault(row.theirs, stored.pop(row.ours[0]))


def _without_copies(stored: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Each bias once; two that go by one name must be equal."""
    for copy, name in COPIES.items():
        if copy in stored and not torch.equal(stored.setdefault(name, stored[copy]), stored.pop(copy)):
            fix = "download the folder again"
            raise Refusal(f"{copy} and {name} in {folder} must be one tensor", "different values", fix)
    return stored


def _same_as_computed(stored: dict[str, Tensor], family: Any, folder: Path) -> None:
    """A file may hold a table that we compute, but then with these values: transformers uses those of the file."""
    for end, computed in getattr(family, "COMPUTED", {}).items():
        for name in [name for name in stored if name.endswith(end)]:
            table = stored.pop(name)
            close = max(TABLE, torch.finfo(table.dtype).eps) if table.dtype in FLOATS else TABLE
            alike = table.ndim == 2 and torch.allclose(table.double(), computed(*table.shape).double(), 0, close)
            if not alike:
                must = f"{name} in {folder} must be what the model computes"
                raise Refusal(must, "other values", "use a model whose table was left as it is made")


def _same_as_embedding(stored: dict[str, Tensor], rows: list[Held], family: Any, folder: Path, new_head: bool) -> None:
    """Where a head or an encoder uses the embeddings, a file may hold them again, but then as the same matrix. The
    matrix of a head that is left out may be one of its own.
    """
    own = {row.theirs for row in family.TENSORS if _of_head(row)}
    names = {row.theirs for row in rows} | (own if new_head else set())
    embedding = next(stored.get(row.theirs) for row in rows if row.ours == ("embedding.weight",))
    for name in [name for name in TIED if name in stored and name not in names]:
        other = stored.pop(name)
        if embedding is not None and not torch.equal(other, embedding):
            untied = "set tie_word_embeddings to false in config.json"
            fix = untied if name in own else "use a model of this family whose embeddings are tied"
            found = f"{name}, which differs from it"
            raise Refusal(f"tied embeddings in {folder} must be one matrix", found, fix)


def read(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder's safetensors files, memory-mapped; a pickled checkpoint is refused."""
    sharded = (folder / INDEX).is_file() and not (folder / FILE).is_file()  # with both, transformers reads the one too
    if sharded:
        index = read_json(folder / INDEX).get("weight_map")
        if not isinstance(index, dict) or any(Path(str(file)).name != file for file in index.values()):
            must = f"{INDEX} in {folder} must have a weight_map of tensors to files of that folder"
            raise Refusal(must, repr(index)[:80], "download the folder again")
        files = sorted(set(index.values()))
    else:
        files = [FILE]
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= opened(folder / file)
    if sharded and set(index) != set(tensors):
        odd = listed(sorted(set(index) ^ set(tensors)))
        raise Refusal(f"{INDEX} in {folder} must list what its shards hold", odd, "download the folder again")
    return tensors


def opened(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file, memory-mapped."""
    if not path.is_file():
        pickles = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in path.parent.glob(pattern))
        if pickles:
            fix = "convert it with safetensors (a pickle can run code when it is read)"
            raise Refusal(f"weights must be safetensors, {path.name}", listed(pickles), fix)
        raise Refusal(f"{path.parent} must hold {path.name}", "no such file", "download or save the folder again")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise Refusal(f"{path} must be an intact safetensors file", str(error), "download or save it again") from None


def listed(names: list[str], most: int = 8) -> str:
    """Names for a sentence."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
