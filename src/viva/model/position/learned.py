"""Learned absolute positions: one vector for each place up to the context (Gehring et al. 2017, GPT, BERT)."""

from typing import ClassVar

from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.layout import Layout


class Config(BaseConfig):
    """A table of `context` vectors; it cannot reach beyond them."""

    acts_on: ClassVar[tuple[str, ...]] = ("embeddings",)

    def build(self, width: int, context: int) -> nn.Module:
        return Learned(width, context)


class Learned(nn.Module):
    """One vector [E] for each token's position; a position beyond the table is refused."""

    def __init__(self, width: int, context: int):
        super().__init__()
        self.table = nn.Embedding(context, width)

    def forward(self, layout: Layout) -> Tensor:
        if layout.end > self.table.num_embeddings:
            raise Refusal(
                f"a model with learned positions reads at most {self.table.num_embeddings} tokens",
                f"{layout.end}",
                "shorten the text, or use a model with rope positions",
            )
        return self.table(layout.positions)
