"""Linear attention (Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236): weights in proportion to
phi(q) phi(k), with phi(x) = elu(x) + 1, so that sums over keys can be kept in place of keys.

Rotary positions turn phi(q) and phi(k), and only above the line (Su et al. 2021, https://arxiv.org/abs/2104.09864,
eq. 19): turned features may have products below zero, of which no sum is safe to divide by. The weights of a query are
then in proportion, but neither positive nor of sum 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import elu

from viva.base.config import Config as BaseConfig
from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.position import Placed
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
        if position == "rope" and kind(attention.position.scaling) == "yarn":
            must = "linear attention must have no temperature, for it has no softmax"
            raise Refusal(must, "rope scaled by yarn", "use another scaling")
        if attention.dropout:
            fix = "set the attention's dropout to 0; the block's falls on what attention adds"
            raise Refusal("linear attention has sums and no weights to drop", f"dropout {attention.dropout}", fix)

    def build(self, head_dim: int, heads: int) -> Score:
        return Linear(head_dim)


class Features(NamedTuple):
    """phi(x) turned by its place, for the products that values are read by, and as it is, for what these are divided
    by; one and the same where nothing is turned.
    """

    turned: Tensor
    plain: Tensor


class Linear(Score):
    """phi(q) phi(k)^T over the sum of it; what was turned comes as both kinds of features side by side, 2D wide."""

    def __init__(self, head_dim: int):
        super().__init__()
        self.head_dim = head_dim

    def turned(self, q: Tensor, k: Tensor, placed: Placed) -> tuple[Tensor, Tensor]:
        q, k = phi(q), phi(k)
        return tuple(torch.cat(pair, -1) for pair in zip(super().turned(q, k, placed), (q, k), strict=True))

    def features(self, x: Tensor) -> Features:
        """Of q or k [..., D], or [..., 2D] where it was turned."""
        if x.shape[-1] == self.head_dim:
            x = phi(x)
            return Features(x, x)
        return Features(*x.chunk(2, -1))

    def weights(self, q: Tensor, k: Tensor, allowed: Tensor, bias: Tensor | None = None) -> Tensor:
        q, k = self.features(q), self.features(k)
        above, below = (torch.where(allowed, a @ b.mT, 0.0) for a, b in zip(q, k, strict=True))
        return above / below.sum(-1, keepdim=True).clamp_min(torch.finfo(below.dtype).tiny)


def phi(x: Tensor) -> Tensor:
    """The feature map (eq. 7)."""
    return elu(x) + 1
