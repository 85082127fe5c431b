"""Min-p (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082, section 3): a bar relative to the likeliest token."""

import math

from pydantic import Field
from torch import Tensor

from viva.base.config import Config as BaseConfig


class Config(BaseConfig):
    """`min_p` is the share of the largest probability that a token must reach, in [0, 1]; 0 keeps all."""

    min_p: float = Field(0.0, ge=0, le=1)


def apply(config: Config, logits: Tensor, seen: Tensor | None = None) -> Tensor:
    """Keep p_i >= min_p * max p, which in logits is l_i >= max l + log(min_p)."""
    if config.min_p == 0:
        return logits
    bar = logits.amax(-1, keepdim=True) + math.log(config.min_p)
    return logits.masked_fill(logits < bar, -float("inf"))
