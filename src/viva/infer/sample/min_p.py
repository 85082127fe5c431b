"""Min-p (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082, section 3): a bar relative to the likeliest token."""

import math
from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past


class Config(BaseConfig):
    """A share in [0, 1]; 0 keeps all."""

    min_p: float = Field(0.0, ge=0, le=1, description="leave out tokens below this share of the largest probability")


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """Keep p_i >= min_p * max p, which in logits is l_i >= max l + log(min_p)."""
    if config.min_p == 0:
        return logits
    bar = logits.amax(-1, keepdim=True) + math.log(config.min_p)
    return logits.masked_fill(logits < bar, -float("inf"))
