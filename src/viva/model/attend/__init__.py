"""Attention: weights from scores, and values read by them, by the kernel that suits the mask and the score."""

from typing import NamedTuple

from torch import Tensor

from viva.model.position import Placed
from viva.model.score import Score


class Weighing(NamedTuple):
    """How queries and keys become weights: the score, the scheme of positions inside attention if there is one, the
    dropout of the weights. With `keep`, the weights are put into it: {name: weights [B, H, T, S]}, as `name`.
    """

    score: Score
    placed: Placed | None = None
    dropout: float = 0.0
    keep: dict[str, Tensor] | None = None
    name: str = ""
