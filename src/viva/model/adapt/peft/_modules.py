"""Modules of PEFT's, each of which may hold several of our pieces."""

from collections import defaultdict
from typing import Any

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.adapt._pieces import by_name
from viva.model.arch._family import Held
from viva.model.tensors import listed

ABOVE = "base_model.model."  # before the name of every module of theirs
NO_EFFECT = dict.fromkeys(
    ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"), "the tensors carry their names"
) | {"fan_in_fan_out": "how the base's matrix lies, which the family says"}

Modules = dict[
    str, tuple[Held, dict[str, Tensor]]
]  # by name: the row of the family's table, tensors by their last words


def module(row: Held) -> str:
    """Theirs, by its name."""
    return row.theirs.removesuffix(".weight")


def ours(row: Held) -> list[str]:
    """The names of the pieces in it."""
    return [name.removesuffix(".weight") for name in row.ours]


def weights(model: nn.Module, row: Held) -> list[Tensor]:
    """Those of the pieces, [out, in] each."""
    every = by_name(model)
    return [every[name].weight.detach() for name in ours(row)]


def sorted_by_module(
    stored: dict[str, Tensor], rows: list[Held], model: nn.Module, where: str, words: tuple[str, ...]
) -> Modules:
    """What is stored, `words` of each module; refused where a tensor is something else."""
    inside = {f"{name}.weight" for name in by_name(model)}
    places = {module(row): row for row in rows if row.ours[0] in inside}
    bare = {name.partition(".")[2]: name for name in places}  # as the class without a head names them
    modules: dict[str, Any] = defaultdict(dict)
    odd = []
    for name, tensor in stored.items():
        word = next((word for word in words if name.endswith(f".{word}")), None)
        place = name.removesuffix(f".{word}")
        place = place if place in places else bare.get(place)
        if word is None or place is None:
            odd.append(name)
        else:
            modules[place][word] = tensor
    if odd:
        must = f"the tensors beside {where} must be of linear maps in the model's blocks, or those of its head, whole"
        fix = "load it on the base that it was made for, or leave the others out of target_modules when it is trained"
        raise Refusal(must, listed(sorted(odd)), fix)
    return {name: (places[name], held) for name, held in modules.items()}


def flat(modules: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of modules by the names of their file."""
    return {f"{ABOVE}{name}.{word}": tensor for name, held in modules.items() for word, tensor in held.items()}


def keys(modules: dict[str, dict[str, Tensor]], rows: list[Held]) -> dict[str, Any]:
    """The keys that say which modules are changed, and how their matrices lie."""
    lying = any(row.transposed for row in rows if module(row) in modules)
    return {"target_modules": sorted(modules), "fan_in_fan_out": lying}
