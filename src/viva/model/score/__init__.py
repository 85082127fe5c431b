"""How a query and a key are compared, one file a variant: `Config.build(head_dim, heads)` gives a `Score`."""

import torch
from torch import Tensor, nn

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.position import Placed


class Base(Config):
    """The base of each Config here."""

    def require_fit(self, attention: Config) -> None:
        """Refuse an attention (model/spec.py) that this score cannot serve."""

    def scaling(self, head_dim: int) -> float:
        """What q k is multiplied by, and with it the product of a query or key and a vector for their distance."""
        return head_dim**-0.5

    def build(self, head_dim: int, heads: int) -> "Score":
        raise NotImplementedError


class Score(nn.Module):
    """score(q [B, H, T, D], k [B, H, S, D]) -> [B, H, T, S]; the weights are its softmax unless it says otherwise."""

    def fused(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, float] | None:
        """q', k' and a scale with which scale * q' k'^T is the score, for a fused kernel; None where there are none.

        k has its G heads still.
        """
        return None

    def turned(self, q: Tensor, k: Tensor, placed: Placed) -> tuple[Tensor, Tensor]:
        """q [B, T, H, D] and k [B, T, G, D] changed by their places, as this score is then given them."""
        return placed.scheme.turn(q, k, placed.table)

    def weights(self, q: Tensor, k: Tensor, allowed: Tensor, bias: Tensor | None = None) -> Tensor:
        """The weights [B, H, T, S], 0 where not `allowed`; a row in which nothing is allowed is all 0. What positions
        add to the scores is `bias`.
        """
        scores = self(q, k)
        scores = scores if bias is None else scores + bias.to(scores.dtype)
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        return torch.where(allowed.any(-1, keepdim=True), weights, 0.0)


def refuse_groups(attention: Config, name: str) -> None:
    """For a score that is written for one key head a query head."""
    if attention.kv_heads != attention.heads:
        found = f"{attention.kv_heads} for {attention.heads} heads"
        raise Refusal(f"attention with {name} scores must have kv_heads equal to heads", found, "set kv_heads to heads")
