"""Linear attention (Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236): weights in proportion to
phi(q) phi(k), with phi(x) = elu(x) + 1, so that sums over keys can be kept in place of keys.
"""

import torch
from torch import Tensor
from torch.nn.functional import elu

from viva.base.config import Config as BaseConfig
from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.score import Base, Score, refuse_groups


class Config(Base):
    """No fields. Costs O(T D^2) where softmax costs O(T^2 D)."""

    def require_fit(self, attention: BaseConfig) -> None:
        refuse_groups(attention, "linear")
        position = kind(attention.position)
        if attention.window or position not in ("none", "rope"):
            found = f"window {attention.window}, position {position}"
            fix = "leave the window out, and use positions on the embeddings, or rope"
            raise Refusal("linear attention must see all keys by phi(q) phi(k) alone", found, fix)
        if attention.dropout:
            fix = "set the attention's dropout to 0; the block's falls on what attention adds"
            raise Refusal("linear attention has sums and no weights to drop", f"dropout {attention.dropout}", fix)

    def build(self, head_dim: int, heads: int) -> Score:
        return Linear()


class Linear(Score):
    """phi(q) phi(k)^T, all positive."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return phi(q) @ phi(k).mT

    def weights(self, scores: Tensor, allowed: Tensor) -> Tensor:
        scores = torch.where(allowed, scores, 0.0)
        return scores / scores.sum(-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def phi(x: Tensor) -> Tensor:
    """The feature map (eq. 7)."""
    return elu(x) + 1
