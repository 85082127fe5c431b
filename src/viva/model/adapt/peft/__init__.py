"""Adapters in PEFT's files, adapter_config.json and adapter_model.safetensors, in and out; one file for each that they
call a `peft_type`.

A file offers `read(keys, stored, rows, model)`: our config and tensors by our names, of the keys of their config and
the tensors of their file; and `write(config, model, rows)`: keys and tensors of theirs. `rows` are the family's table
of tensors for the model.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from viva.base.choice import names, variant
from viva.base.config import Config, kind
from viva.base.errors import Refusal, nearest
from viva.base.files import read_json, whole_folder, write_text
from viva.model import tensors
from viva.model.adapt.peft import _head, _modules
from viva.model.arch._family import Held, Keys
from viva.model.init import hollow

CONFIG, FILE = "adapter_config.json", "adapter_model.safetensors"
THEIRS = {"prompt": "prompt_tuning", "prefix": "prefix_tuning"}  # their word for a kind, where it is another
PROMPTS = ("prompt_tuning", "p_tuning")  # whose virtual tokens have states, as those of a text have
VIRTUAL = (*PROMPTS, "prefix_tuning")  # which stand before the base, and not in modules of it
WITHOUT_CACHE = ("albert", "distilbert", "openai_gpt")  # whose classes read none
NO_EFFECT = {
    "task_type": "read with the head",
    "auto_mapping": "names classes of transformers",
    "base_model_name_or_path": "the base is given",
    "peft_version": "says who wrote the file",
    "revision": "the base is given",
    "inference_mode": "the caller chooses",
    "modules_to_save": "the tensors carry their names",
}


def holds_one(path: Path) -> bool:
    """Whether a folder is that of an adapter of PEFT's."""
    return (path / CONFIG).is_file()


def base(path: Path) -> str | None:
    """The folder or the hub's id of the base that an adapter's file names."""
    return read_json(path / CONFIG).get("base_model_name_or_path")


def read(
    path: Path, family: Any, base: Config, model: nn.Module, where: Path
) -> tuple[Config, dict[str, Tensor], Config | None]:
    """The config and the tensors, by our names, of an adapter for this model, that of the config `base` in the folder
    `where`; and the head that is among them, if one is.

    Refused: a key that changes what is computed and is not known here, a tensor of what the model has not.
    """
    keys = Keys(read_json(path / CONFIG), str(path / CONFIG))
    wanted, known = keys.take("peft_type"), [name.upper() for name in names(__name__)]
    if wanted not in known:
        fix = nearest(str(wanted), known).replace("use", "load one of type", 1)
        raise Refusal(f"peft_type in {keys.where} must be known", repr(wanted), fix)
    theirs, rows = wanted.lower(), _rows(family, model)
    above = _above(theirs)
    stored = {name.removeprefix(above): tensor for name, tensor in tensors.opened(path / FILE).items()}
    head, of_head = _head.read(keys, stored, family, base, model, where)
    with hollow():
        _require_read_alike(theirs, family, model.head if head is None else head.build(model.spec))
    keys.ignore(**NO_EFFECT)
    config, found = variant(__name__, theirs).read(keys, stored, rows, model)
    keys.finish()
    return config, found | of_head, head


def write(
    target: str | Path, family: Any, model: nn.Module, plain: nn.Module, config: Config, place: str, head: bool
) -> None:
    """Write the adapter of the model as PEFT opens it on the base at `place`, whose form, without numbers, is `plain`;
    with `head` its head too.

    A kind that PEFT has not is refused.
    """
    theirs = THEIRS.get(kind(config), kind(config))
    if theirs not in (known := names(__name__)):
        raise Refusal("an adapter must be of a kind that PEFT has", kind(config), f"use {', '.join(known)}")
    _require_read_alike(theirs, family, model.head)
    rows = _rows(family, plain)
    keys, stored = variant(__name__, theirs).write(config, model, rows)
    of_head, modules = _head.write(family, model, rows, head)
    stored |= {_above(theirs) + name: tensor for name, tensor in of_head.items()}
    keys |= {
        "peft_type": theirs.upper(),
        "task_type": _head.task(model),
        "base_model_name_or_path": place,
        "inference_mode": True,
        "modules_to_save": modules or None,
    }
    with whole_folder(target) as new:
        write_text(new / CONFIG, json.dumps(keys, indent=2))
        held = {name: tensor.detach().contiguous() for name, tensor in stored.items()}
        save_file(held, new / FILE, metadata={"format": "pt"})


def _require_read_alike(theirs: str, family: Any, head: nn.Module) -> None:
    """Refuse vectors beside those of tokens for a class of transformers that scales a token's only where it is given
    its id: PEFT gives it vectors. And for a head that pools other states there, where virtual tokens are pooled too.
    And a prefix for a class that reads no cache.
    """
    name = family.__name__.rpartition(".")[2]
    pool = getattr(head, "pool", None) or getattr(getattr(head, "config", None), "pool", None)
    if theirs in PROMPTS and name == "marian":
        fix = "keep it in viva's own form, or use prefix"
        raise Refusal("a model's class must read vectors as it reads ids for a prompt of PEFT's", "marian's", fix)
    if theirs in PROMPTS and pool not in (None, "last"):
        found = f"a head that pools the {pool} of a text's states"
        fix = "use prefix, or a decoder, whose last state both pool; or tune it here and keep it in viva's own form"
        raise Refusal("a prompt must come to the same in PEFT, where virtual tokens are pooled too", found, fix)
    if theirs == "prefix_tuning" and name in WITHOUT_CACHE:
        fix = "keep it in viva's own form, or use lora"
        raise Refusal("a model's class must read keys and values before a text for a prefix of PEFT's", name, fix)


def _rows(family: Any, model: nn.Module) -> list[Held]:
    if not family.TENSORS:
        fix = "keep the adapter in viva's own form, which names our pieces"
        raise Refusal("a model must be of a family of transformers to have an adapter of PEFT's", "another", fix)
    return list(tensors.named(family, model))


def _above(theirs: str) -> str:
    """Before the name of every module of the base, which theirs wraps once more for an adapter inside of it."""
    return "base_model." if theirs in VIRTUAL else _modules.ABOVE
