"""Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1): y = W x + s B A x, W frozen."""

import math
from typing import Literal

from pydantic import Field
from torch import nn

from viva.base.seed import derive
from viva.model.adapt import Base
from viva.model.adapt._dora import Directed
from viva.model.adapt._low_rank import LowRank
from viva.model.adapt._pieces import Piece, Targets, change, pack, packed


class Config(Base):
    """`rank` r of B A; s = `alpha` / r or, with `stabilised`, alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023,
    https://arxiv.org/abs/2312.03732, theorem 3.2). `targets`: the ends of the names of linear maps, such as
    `attention.q` or `ffn.up`, or regular expressions of whole names, such as `decoder.layers.[01].attention.q`.
    `dropout` falls on the x that A reads. `directed` trains the length of each row of W apart from its direction (DoRA,
    Liu et al. 2024, https://arxiv.org/abs/2402.09353). `quantize` keeps the linear maps of the base in 4 bits (QLoRA,
    Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).
    """

    rank: int = Field(8, gt=0)
    alpha: float = Field(16.0, gt=0)
    targets: Targets = ("attention.q", "attention.v")
    dropout: float = Field(0.0, ge=0, lt=1)
    stabilised: bool = False
    directed: bool = False
    quantize: Literal["nf4"] | None = None

    @property
    def scale(self) -> float:
        """s."""
        return self.alpha / (math.sqrt(self.rank) if self.stabilised else self.rank)

    def kept_as(self, name: str, module: nn.Module) -> nn.Module:
        return packed(name, module) if self.quantize else module

    def attach(self, model: nn.Module, seed: int) -> None:
        if self.quantize:
            pack(model)

        def part(name: str, piece: Piece) -> LowRank:
            beside = Directed if self.directed else LowRank
            return beside(self.rank, self.scale, self.dropout, piece, derive(seed, "adapter", name))

        change(model, self.targets, part)
