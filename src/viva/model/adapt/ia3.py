"""Infused adapter by inhibiting and amplifying inner activations, (IA)^3 (Liu et al. 2022,
https://arxiv.org/abs/2205.05638, section 3.3): a learned factor for each number of the keys, of the values, and of what
stands between the two maps of a feed-forward network.
"""

from typing import Self

from pydantic import model_validator
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.adapt import Base, put
from viva.model.adapt._pieces import Parted, Patterns, Piece, change, chosen
from viva.model.linear.joined import Joined


class Config(Base):
    """`targets`: linear maps whose outputs are multiplied; `read`: those whose inputs are. Names as in `lora`."""

    targets: Patterns = ("attention.k", "attention.v")
    read: Patterns = ("ffn.down",)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.targets and not self.read:
            raise ValueError("must change something: give targets, or read")
        return self

    def attach(self, model: nn.Module, seed: int) -> None:
        change(model, self.targets, lambda name, piece: Factor(piece.outside, piece))
        for name, pieces in chosen(model, self.read).items():
            module = model.get_submodule(name)
            if isinstance(module, Joined):
                found, fix = f"{', '.join(module.names)} in {name}", "choose a map that reads alone, such as ffn.down"
                raise Refusal("a map whose input is multiplied must not share it", found, fix)
            put(module, Read({part: ReadFactor(p.inside, p) for part, p in pieces.items()}))


class Factor(nn.Module):
    """y [..., n] -> l y, where l [n] begins as ones."""

    def __init__(self, size: int, piece: Piece):
        super().__init__()
        self.l = nn.Parameter(piece.weight.new_ones(size))

    def forward(self, x: Tensor, y: Tensor, piece: Piece) -> Tensor:
        return self.l.to(y.dtype) * y

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The weight and the bias of the one map that computes the same."""
        return self.l[:, None] * weight, None if bias is None else self.l * bias


class Read(Parted):
    """x -> l x, before a linear map reads it."""

    def before(self, x: Tensor) -> Tensor:
        (factor,) = self.parts.values()
        return factor.l.to(x.dtype) * x

    def after(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y


class ReadFactor(Factor):
    """The factor of what a map reads."""

    def merged(self, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return weight * self.l, bias
