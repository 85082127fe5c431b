"""Optimizers, one a file: `Config.build(model)` gives a torch optimizer whose rates the loop sets at every step.

A group's rate is the loop's, times `scale` where the group has one. Parameters carry their names, so that saved
state is matched by name.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from viva.base.errors import Refusal

Named = tuple[str, Tensor]
Beta = Annotated[float, Field(ge=0, lt=1)]


def trainable(model: nn.Module) -> list[Named]:
    """(name, parameter) of everything in `model` that is to be trained; a tied one comes once."""
    found = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not found:
        raise Refusal("a model must have parameters to train", "none with requires_grad", "unfreeze some of them")
    return found


def groups(named: list[Named], weight_decay: float) -> list[dict]:
    """Two groups: tensors of two and more dimensions decay, the embedding among them; biases and norms do not.

    Brown et al. 2020 (GPT-3) and most since decay every matrix; a norm's gain pulled to zero would only scale it.
    """
    matrices = [pair for pair in named if pair[1].ndim >= 2]
    vectors = [pair for pair in named if pair[1].ndim < 2]
    decays = ((matrices, weight_decay), (vectors, 0.0))
    return [{"params": pairs, "weight_decay": decay} for pairs, decay in decays if pairs]
