"""Learned absolute positions: one vector for each place up to the context (Gehring et al. 2017, GPT, BERT)."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.layout import Layout


class Config(BaseConfig):
    """A table of `context` vectors; it cannot reach beyond them. The first place has the row `offset` of it; what
    stands before is never used (RoBERTa and BART leave two).
    """

    acts_on: ClassVar[tuple[str, ...]] = ("embeddings",)
    by_place: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False

    offset: int = Field(0, ge=0)

    def build(self, width: int, context: int) -> nn.Module:
        return Learned(width, context, self.offset)


class Learned(nn.Module):
    """One vector [E] for each token's position; a position beyond the table is refused."""

    def __init__(self, width: int, context: int, offset: int):
        super().__init__()
        self.table, self.offset = nn.Embedding(context + offset, width), offset

    def forward(self, layout: Layout) -> Tensor:
        most = self.table.num_embeddings - self.offset
        if layout.end > most:
            raise Refusal(
                f"a model with learned positions reads at most {most} tokens",
                f"{layout.end}",
                "shorten the text, or use a model with rope positions",
            )
        return self.table(layout.positions + self.offset if self.offset else layout.positions)
