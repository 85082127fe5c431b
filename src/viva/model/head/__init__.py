"""What stands on the last states, one file a variant: `Config.build(spec)` gives a module
head(hidden [B, T, E], table [V, E'], layout) -> what the model is for.

`table` is the token embeddings, for the heads that share them. A head that scores the vocabulary is a `Vocabulary`.
"""

import torch
from torch import Tensor, nn

from viva.model.layout import Layout
from viva.model.linear.dense import linear


class Vocabulary(nn.Module):
    """Scores of every token: (states W^T) + b, bounded softly by `cap`.

    `weight` [V, E'] is None where the table is W, `bias` [V] None where there is none.
    """

    def __init__(self, vocab: int, width: int, tied: bool, bias: bool, cap: float | None = None):
        super().__init__()
        self.weight = None if tied else nn.Parameter(torch.zeros(vocab, width))
        self.bias = nn.Parameter(torch.zeros(vocab)) if bias else None
        self.cap = cap

    def states(self, hidden: Tensor) -> Tensor:
        """What is multiplied by the matrix, [..., E] -> [..., E']."""
        return hidden

    def matrix(self, table: Tensor) -> Tensor:
        """[V, E']: its product with the states gives the scores."""
        return table if self.weight is None else self.weight

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        """[..., E] -> [..., V]."""
        scores = linear(self.states(hidden), self.matrix(table), self.bias)
        return scores if self.cap is None else self.cap * (scores / self.cap).tanh()
