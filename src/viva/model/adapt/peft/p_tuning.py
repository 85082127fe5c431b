"""P-tuning in PEFT's files, which hold the vectors that were made and not their encoder."""

from typing import Any

from torch import Tensor, nn

from viva.model.adapt import p_tuning
from viva.model.adapt.peft import _virtual
from viva.model.adapt.peft._virtual import OURS, scale, vectors
from viva.model.arch._family import Held, Keys

MADE = "of what made the vectors, which are stored as they were made"
NO_EFFECT = dict.fromkeys(("encoder_reparameterization_type", "encoder_num_layers", "encoder_dropout"), MADE)


def read(
    keys: Keys, stored: dict[str, Tensor], rows: list[Held], model: nn.Module
) -> tuple[p_tuning.Config, dict[str, Tensor]]:
    """Ours."""
    keys.ignore(**NO_EFFECT)
    made, _ = vectors(keys, stored)
    return p_tuning.Config(length=len(made), encoder=None), {OURS: made / scale(model)}


def write(config: p_tuning.Config, model: nn.Module, rows: list[Held]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Theirs."""
    keys, stored = _virtual.prompt(model)
    return keys | {"encoder_hidden_size": config.hidden or keys["token_dim"]}, stored
