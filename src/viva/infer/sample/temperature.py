"""Temperature (Ackley, Hinton and Sejnowski 1985): p_i = softmax(l / t)_i, sharper below 1, flatter above."""

from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor


class Config(BaseConfig):
    """t >= 0."""

    temperature: float = Field(0.7, ge=0, description="1 is the model's own distribution, 0 its most likely token")


def apply(config: Config, logits: "Tensor", seen: "Tensor | None" = None) -> "Tensor":
    """l / t. At 0 the logits are left alone: the draw itself takes the largest."""
    if config.temperature in (0, 1):
        return logits
    return logits / config.temperature
