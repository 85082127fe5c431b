"""Temperature (Ackley, Hinton and Sejnowski 1985): p_i = softmax(l / t)_i, sharper below 1, flatter above."""

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past


LEAST = 1e-3  # logits divided by less leave the range of fp32


class Config(BaseConfig):
    """t is 0, or at least LEAST."""

    temperature: float = Field(0.7, ge=0, description="1 is the model's own distribution, 0 its most likely token")

    @field_validator("temperature")
    @classmethod
    def _in_range(cls, value: float) -> float:
        if 0 < value < LEAST:
            raise ValueError(f"must be 0, which takes the most likely token, or at least {LEAST}")
        return value


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """l / t. At 0 the logits are left alone: the draw itself takes the largest."""
    if config.temperature in (0, 1):
        return logits
    return logits / config.temperature
