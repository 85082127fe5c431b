"""Top-k (Fan et al. 2018, https://arxiv.org/abs/1805.04833, section 5.4): only the k most likely tokens remain."""

from typing import TYPE_CHECKING

from pydantic import Field

from viva.base.config import Config as BaseConfig

if TYPE_CHECKING:
    from torch import Tensor

    from viva.infer.past import Past


class Config(BaseConfig):
    """k >= 1; None keeps all."""

    top_k: int | None = Field(None, ge=1, description="draw among the k most likely tokens alone")


def apply(config: Config, logits: "Tensor", past: "Past | None" = None) -> "Tensor":
    """Keep l_i >= the k-th largest l; tokens that tie with it remain too."""
    if config.top_k is None or config.top_k >= logits.shape[-1]:
        return logits
    least = logits.topk(config.top_k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < least, -float("inf"))
