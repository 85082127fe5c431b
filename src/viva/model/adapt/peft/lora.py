"""LoRA in PEFT's files."""

import math
import re
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from viva.base.errors import Notice
from viva.model.adapt import _pieces, lora
from viva.model.adapt.peft import _modules
from viva.model.adapt.peft._modules import module, ours, weights
from viva.model.arch._family import Held, Keys

A, B, M = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
USUAL = {  # what changes the computation, and the value with which it does not
    "bias": "none",
    "lora_bias": False,
    "use_qalora": False,
    "use_bdlora": None,
    "layer_replication": None,
    "trainable_token_indices": None,
    "alora_invocation_tokens": None,
    "arrow_config": None,
    "kasa_config": None,
    "monteclora_config": None,
    "velora_config": None,
    "target_parameters": None,
}
NO_EFFECT = _modules.NO_EFFECT | {
    "init_lora_weights": "used when training starts",
    "loftq_config": "used when training starts",
    "eva_config": "used when training starts",
    "corda_config": "used when training starts",
    "lora_ga_config": "used when training starts",
    "megatron_config": "splits a product in parts, computes the same",
    "megatron_core": "splits a product in parts, computes the same",
    "qalora_group_size": "used with use_qalora alone",
    "ensure_weight_tying": "of embeddings, which are not changed here",
}
PACKED = (
    "PEFT's files cannot say that the base of this adapter was in 4 bits, and on the plain base it computes something "
    "else: give them the model that `viva merge` makes of both or, but for how scales are rounded, load the base with "
    'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)'
)


def read(
    keys: Keys, stored: dict[str, Tensor], rows: list[Held], model: nn.Module
) -> tuple[lora.Config, dict[str, Tensor]]:
    """Ours. A module of another rank or alpha gets the common one: zeros beside its A and B, and B scaled."""
    for key, usual in USUAL.items():
        keys.expect(key, usual)
    keys.ignore(**NO_EFFECT)
    modules = _modules.sorted_by_module(stored, rows, model, keys.where, (A, B, M))
    ranks, alphas = (_Pattern(keys, *names) for names in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")))
    most = max((len(held[A]) for _, held in modules.values()), default=ranks.usual)
    config = lora.Config(
        rank=most,
        alpha=alphas.usual,
        targets=_pieces.shortest(model, [name for row, _ in modules.values() for name in ours(row)]),
        dropout=keys.take("lora_dropout", 0.0),
        stabilised=keys.take("use_rslora", False),
        directed=keys.take("use_dora", False),
    )
    found: dict[str, Tensor] = {}
    for name, (row, held) in modules.items():
        scale = config.model_copy(update={"rank": ranks(name), "alpha": alphas(name)}).scale / config.scale
        room = most - len(held[A])
        sizes = [len(weight) for weight in weights(model, row)]
        b = nn.functional.pad(held[B] * scale, (0, room)).split(sizes)
        m = held[M].split(sizes) if config.directed else sizes
        for piece, part, length in zip(ours(row), b, m, strict=True):
            found |= {f"{piece}.a": nn.functional.pad(held[A], (0, 0, 0, room)), f"{piece}.b": part}
            found |= {f"{piece}.m": length} if config.directed else {}
    return config, found


class _Pattern:
    """A number for each module: the first that its name matches, or the usual one."""

    def __init__(self, keys: Keys, patterns: str, usual: str):
        self.patterns, self.usual = keys.section(patterns), keys.take(usual)

    def __call__(self, module: str) -> float:
        matching = (value for key, value in self.patterns.items() if re.match(rf"(.*\.)?({key})$", module))
        return next(matching, self.usual)


def write(config: lora.Config, model: nn.Module, rows: list[Held]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Theirs. A module that holds several pieces gets a rank for all: their A one below another, their B each in its
    rows and its columns, zeros elsewhere. A Notice says that the base was in 4 bits, which theirs cannot.
    """
    if config.quantize:
        warnings.warn(Notice(PACKED), stacklevel=5)  # where the model is saved
    own, modules, ranks = _pieces.held(model), {}, {}
    for row in rows:
        changed = [own.get(name) for name in ours(row)]
        if not any(changed):
            continue
        base, name = weights(model, row), module(row)
        a = torch.cat([part.a for part in changed if part])
        modules[name] = {A: a, B: _placed(changed, base, len(a))}
        if config.directed:
            pairs = zip(changed, base, strict=True)
            modules[name][M] = torch.cat([part.m if part else weight.norm(dim=1) for part, weight in pairs])
        if len(a) != config.rank:
            ranks[name] = len(a)
    keys = _modules.keys(modules, rows) | {
        "r": config.rank,
        "lora_alpha": config.alpha,
        "rank_pattern": ranks,
        "alpha_pattern": {name: _alpha(config, rank) for name, rank in ranks.items()},
        "lora_dropout": config.dropout,
        "use_rslora": config.stabilised,
        "use_dora": config.directed,
        "bias": "none",
    }
    return keys, _modules.flat(modules)


def _alpha(config: lora.Config, rank: int) -> float:
    """With which a module of this rank has the config's scale."""
    return config.scale * (math.sqrt(rank) if config.stabilised else rank)


def _placed(changed: list[nn.Module | None], weights: list[Tensor], rank: int) -> Tensor:
    """The B of a module: that of each piece in its own rows and columns; zeros where a piece is not changed."""
    placed, row, column = weights[0].new_zeros(sum(map(len, weights)), rank), 0, 0
    for part, weight in zip(changed, weights, strict=True):
        if part is not None:
            placed[row : row + len(weight), column : column + len(part.a)] = part.b.detach()
            column += len(part.a)
        row += len(weight)
    return placed
