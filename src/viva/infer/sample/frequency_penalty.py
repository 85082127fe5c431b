"""Frequency penalty, of OpenAI's API: mu_j - c_j alpha, mu_j the score of token j, c_j how often it was sampled before
(platform.openai.com, "Frequency and presence penalties").
"""

from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past


class Config(BaseConfig):
    """In units of scores, for each time; 0 changes nothing."""

    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="take this from a token's score for each time that it stands in the reply"
    )


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """l - c alpha, c the times that a token stands in the reply."""
    if config.frequency_penalty == 0:
        return logits
    # two roundings, not one: a fused operation would round otherwise in some places of a row than in others
    return logits - past.made * config.frequency_penalty
