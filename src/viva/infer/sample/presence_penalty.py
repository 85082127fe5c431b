"""Presence penalty, of OpenAI's API: mu_j - [c_j > 0] alpha, mu_j the score of token j, c_j how often it was sampled
before (platform.openai.com, "Frequency and presence penalties").
"""

from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past


class Config(BaseConfig):
    """In units of scores; 0 changes nothing."""

    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="take this from the score of every token that stands in the reply"
    )


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """l - alpha for the tokens that stand in the reply."""
    if config.presence_penalty == 0:
        return logits
    return (logits - config.presence_penalty).where(past.made > 0, logits)
