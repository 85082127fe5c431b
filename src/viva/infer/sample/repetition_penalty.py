"""Repetition penalty (Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1), in its usual form.

The paper divides the score of a token that occurred by theta; where scores are negative that would favour it, so those
are multiplied, as every implementation since has done.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past


class Config(BaseConfig):
    """theta > 0; 1 changes nothing."""

    repetition_penalty: float = Field(1.0, ge=0.01, le=100, description="above 1 repeats less")


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """l / theta where l > 0, l * theta where l < 0, for the tokens seen in the prompt or the reply."""
    theta = config.repetition_penalty
    if theta == 1:
        return logits
    return (logits / theta).where(logits > 0, logits * theta).where(past.seen, logits)
