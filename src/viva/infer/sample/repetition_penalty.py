"""Repetition penalty (Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1), in its usual form.

The paper divides the score of a token that occurred by theta; where scores are negative that would favour it, so those
are multiplied, as every implementation since has done.
"""

import torch
from pydantic import Field
from torch import Tensor

from viva.base.config import Config as BaseConfig


class Config(BaseConfig):
    """`repetition_penalty` theta; above 1 repeats less, 1 changes nothing."""

    repetition_penalty: float = Field(1.0, gt=0)


def apply(config: Config, logits: Tensor, seen: Tensor | None = None) -> Tensor:
    """l / theta where l > 0, l * theta where l < 0, for the tokens `seen` in the prompt or the reply."""
    theta = config.repetition_penalty
    if theta == 1:
        return logits
    return torch.where(seen, torch.where(logits > 0, logits / theta, logits * theta), logits)
