"""Top-p, nucleus sampling (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751, eq. 2)."""

from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past

FIRST = 1024  # tokens, of which a nucleus most often is: all are sorted only where it is not


class Config(BaseConfig):
    """p in [1e-6, 1]; 1 keeps all."""

    top_p: float = Field(1.0, ge=1e-6, le=1, description="draw among the likeliest tokens that hold this probability")


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """Keep the smallest set of most likely tokens whose probabilities sum to at least p.

    A token remains when those more likely than it sum to less than p; the first always does.
    """
    if config.top_p == 1:
        return logits
    p = logits.softmax(-1)
    likeliest, order = p.topk(min(FIRST, p.shape[-1]), dim=-1)
    if bool((likeliest.sum(-1) < config.top_p).any()):
        likeliest, order = p.sort(dim=-1, descending=True)
    outside = likeliest.cumsum(-1) - likeliest >= config.top_p
    return logits.masked_fill(p.new_ones(p.shape, dtype=bool).scatter_(-1, order, outside), -float("inf"))
