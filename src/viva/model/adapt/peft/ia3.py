"""(IA)^3 in PEFT's files."""

from typing import Any

import torch
from torch import Tensor, nn

from viva.model.adapt import _pieces, ia3
from viva.model.adapt.peft import _modules
from viva.model.adapt.peft._modules import module, ours, weights
from viva.model.arch._family import Held, Keys

L = "ia3_l"


def read(
    keys: Keys, stored: dict[str, Tensor], rows: list[Held], model: nn.Module
) -> tuple[ia3.Config, dict[str, Tensor]]:
    """Ours. Their factors are [out, 1] of what a module gives, [1, in] of what it reads."""
    keys.ignore(
        **_modules.NO_EFFECT,
        init_ia3_weights="used when training starts",
        feedforward_modules="the tensors' shapes say it",
    )
    modules = _modules.sorted_by_module(stored, rows, model, keys.where, (L,))
    found, given, taken = {}, [], []
    for row, held in modules.values():
        reads = len(held[L]) == 1
        (taken if reads else given).extend(ours(row))
        sizes = held[L].numel() if reads else [len(weight) for weight in weights(model, row)]
        found |= {f"{name}.l": part for name, part in zip(ours(row), held[L].flatten().split(sizes), strict=True)}
    return ia3.Config(targets=_pieces.shortest(model, given), read=_pieces.shortest(model, taken)), found


def write(config: ia3.Config, model: nn.Module, rows: list[Held]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Theirs; a module of several pieces has ones for those that are not changed."""
    own, modules, reading = _pieces.held(model), {}, []
    for row in rows:
        changed = [own.get(name) for name in ours(row)]
        if not any(changed):
            continue
        if isinstance(changed[0], ia3.ReadFactor):
            reading.append(module(row))
            modules[module(row)] = {L: changed[0].l[None]}
        else:
            pairs = zip(changed, weights(model, row), strict=True)
            modules[module(row)] = {L: torch.cat([p.l if p else w.new_ones(len(w)) for p, w in pairs])[:, None]}
    return _modules.keys(modules, rows) | {"feedforward_modules": reading}, _modules.flat(modules)
