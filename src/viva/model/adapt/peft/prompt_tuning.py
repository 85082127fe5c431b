"""Prompt tuning in PEFT's files."""

from typing import Any

from torch import Tensor, nn

from viva.model.adapt import prompt
from viva.model.adapt.peft import _virtual
from viva.model.adapt.peft._virtual import OURS, scale, vectors
from viva.model.arch._family import Held, Keys

NO_EFFECT = dict.fromkeys(
    ("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"),
    "used when training starts",
)


def read(
    keys: Keys, stored: dict[str, Tensor], rows: list[Held], model: nn.Module
) -> tuple[prompt.Config, dict[str, Tensor]]:
    """Ours."""
    keys.ignore(**NO_EFFECT)
    made, _ = vectors(keys, stored)
    return prompt.Config(length=len(made)), {OURS: made / scale(model)}


def write(config: prompt.Config, model: nn.Module, rows: list[Held]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Theirs."""
    keys, stored = _virtual.prompt(model)
    return keys | {"prompt_tuning_init": "RANDOM"}, stored
