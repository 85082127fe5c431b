"""Prefix tuning in PEFT's files, which hold keys and values as they were made and not the maps that made them."""

from typing import Any

import torch
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.adapt import prefix
from viva.model.adapt.peft._virtual import OURS, vectors, written
from viva.model.arch._family import Held, Keys

NO_EFFECT = {
    "prefix_projection": "of what made the vectors, which are stored as they were made",
    "init_weights": "used when training starts",
}


def read(
    keys: Keys, stored: dict[str, Tensor], rows: list[Held], model: nn.Module
) -> tuple[prefix.Config, dict[str, Tensor]]:
    """Ours."""
    keys.ignore(**NO_EFFECT)
    made, stacks = vectors(keys, stored)
    config = prefix.Config(length=len(made))
    return config, {OURS: _every_other(made, model.stacks[-1].spec.layers) if stacks == 2 else made}


def _every_other(made: Tensor, layers: int) -> Tensor:
    """What each layer reads where theirs has two submodules: the list of layers' parts is then laid twice end to end,
    and of each two that follow one another the second is left out.
    """
    parts = made.chunk(layers, 1)
    return torch.cat([parts[2 * layer % layers] for layer in range(layers)], 1)


def _laid_out(made: Tensor, layers: int) -> Tensor:
    """What comes to `made` when every other part is left out; refused where layers of which theirs reads one part for
    both have not the same.
    """
    parts = made.chunk(layers, 1)
    laid = list(parts)
    for layer, part in enumerate(parts):
        laid[2 * layer % layers] = part
    if not torch.equal(_every_other(joined := torch.cat(laid, 1), layers), made):
        must = f"layers {layers // 2} apart must have one prefix for PEFT, which gives them one beside an encoder"
        raise Refusal(must, "one each", "keep it in viva's own form")
    return joined


def write(config: prefix.Config, model: nn.Module, rows: list[Held]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Theirs; refused where layers have keys of several sizes, for which theirs has one."""
    shapes = {*model.adapter.shapes}
    if len(shapes) > 1:
        found, fix = ", ".join(f"{G} x {D}" for G, D in sorted(shapes)), "keep it in viva's own form"
        raise Refusal("each layer must have keys of one size for a prefix of PEFT's", found, fix)
    [(G, D)] = shapes
    made = model.adapter.made()
    if len(model.stacks) > 1:
        made = _laid_out(made, model.stacks[-1].spec.layers)
    keys, stored = written(model, made, G, G * D)
    keys["num_transformer_submodules"] = len(model.stacks)
    return keys | {"encoder_hidden_size": G * D, "prefix_projection": False}, stored
