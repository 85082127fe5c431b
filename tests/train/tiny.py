"""A language model small enough to work out by hand: what the loop needs of a Transformer, and nothing else."""

import torch
from torch import Tensor, nn

from viva.model.head import lm


class Tiny(nn.Module):
    """Each token sees itself and the mean of its row so far; the head is tied to the embedding unless told."""

    def __init__(self, vocab: int = 17, width: int = 8, tied: bool = True, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(vocab, width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.head = lm.LM(lm.Config(tied=tied), vocab, width)
        if not tied:
            nn.init.normal_(self.head.weight, std=0.3)

    @property
    def head_weight(self) -> Tensor:
        return self.head.matrix(self.embedding.weight)

    def hidden(self, ids: Tensor, layout=None) -> Tensor:
        x = self.embedding(ids)
        x = x + x.cumsum(1) / torch.arange(1, ids.shape[1] + 1)[:, None]
        return self.norm(x + self.down(self.up(x).relu()))
