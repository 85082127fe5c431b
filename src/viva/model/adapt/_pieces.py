"""Linear maps that an adapter changes, by the names of the pieces they are: `attention.q`, although q, k and v are one
matrix (model/linear/joined.py).
"""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.adapt import Change, put
from viva.model.linear.joined import Joined, split
from viva.model.linear.nf4 import quantised

INSIDE = ("encoder.", "decoder.")  # the blocks; what stands on them is trained whole or not at all


def _patterns(targets: tuple[str, ...]) -> tuple[str, ...]:
    for target in targets:
        try:
            re.compile(target)
        except re.error as error:
            raise ValueError(
                f"{target!r} must be the end of a piece's name, or a regular expression: {error}"
            ) from None
    return targets


Patterns = Annotated[tuple[str, ...], AfterValidator(_patterns)]
Targets = Annotated[Patterns, Field(min_length=1)]


@dataclass(frozen=True)
class Piece:
    """One linear map: the part at `place` of a module, which may be several in one matrix."""

    module: nn.Linear
    place: int = 0

    @property
    def weight(self) -> Tensor:
        """[out, in]."""
        return split(self.module, self.module.weight)[self.place]

    @property
    def bias(self) -> Tensor | None:
        """[out]."""
        return None if self.module.bias is None else split(self.module, self.module.bias)[self.place]

    @property
    def inside(self) -> int:
        """How many numbers it reads."""
        return self.module.in_features

    @property
    def outside(self) -> int:
        """How many numbers it gives."""
        return self.module.outs[self.place] if isinstance(self.module, Joined) else self.module.out_features


def found(model: nn.Module) -> dict[str, dict[str, Piece]]:
    """The linear maps inside a model's blocks: of each module, by its name, the pieces by theirs."""
    return {
        name: {part: Piece(module, place) for place, part in enumerate(parts(name, module))}
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(INSIDE)
    }


def parts(name: str, module: nn.Linear) -> tuple[str, ...]:
    """The last words of the names of the pieces that a module of this name holds."""
    return module.names if isinstance(module, Joined) else (name.rpartition(".")[2],)


def chosen(model: nn.Module, targets: tuple[str, ...]) -> dict[str, dict[str, Piece]]:
    """The pieces whose names match one of `targets`: by their last words, or as a regular expression of the whole name.

    Refused: a target that matches none.
    """
    taken, matched = defaultdict(dict), set()
    for name, pieces in found(model).items():
        above = name.rpartition(".")[0]
        for part, piece in pieces.items():
            if by := [target for target in targets if _matches(target, f"{above}.{part}")]:
                taken[name][part] = piece
                matched |= {*by}
    if missing := [target for target in targets if target not in matched]:
        raise Refusal("a target must match a linear map of the model", ", ".join(missing), f"choose of {_known(model)}")
    return taken


def _matches(target: str, name: str) -> bool:
    return f".{name}".endswith(f".{target}") or re.fullmatch(target, name) is not None


def _known(model: nn.Module) -> str:
    """The names of pieces, those of all layers once, and of all experts."""
    short = (re.sub(r"\.\d+\.", ".N.", _in_its_layer(name)) for name in by_name(model))
    return ", ".join(dict.fromkeys(short)) or "none"


def _in_its_layer(name: str) -> str:
    """A piece's name without that of its layer."""
    return re.sub(r"^\w+\.layers\.\d+\.", "", name)


def by_name(model: nn.Module) -> dict[str, Piece]:
    """The linear maps inside a model's blocks, by the whole names of the pieces."""
    everything = found(model)
    return {f"{name.rpartition('.')[0]}.{part}": piece for name, of in everything.items() for part, piece in of.items()}


def shortest(model: nn.Module, names: list[str]) -> tuple[str, ...]:
    """Targets that match the pieces of these names and no others: without their layer where all layers have them."""
    everything = by_name(model)
    taken = {}
    for name in names:
        alike = {other for other in everything if _matches(_in_its_layer(name), other)}
        taken[_in_its_layer(name) if alike <= {*names} else name] = None
    return tuple(taken)


class Parted(Change):
    """A change for each of some pieces of a linear module; a part is called with (x, y, piece) and gives the new y."""

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def after(self, module: nn.Linear, x: Tensor, y: Any) -> Any:
        if not isinstance(module, Joined):
            (part,) = self.parts.values()
            return part(x, y, Piece(module))
        x = x.to(y[0].dtype)  # under autocast once, and not for each part
        return tuple(
            self.parts[name](x, piece, Piece(module, place)) if name in self.parts else piece
            for place, (name, piece) in enumerate(zip(module.names, y, strict=True))
        )


def change(model: nn.Module, targets: tuple[str, ...], make: Callable[[str, Piece], nn.Module]) -> None:
    """Give each chosen piece the part that `make(name, piece)` builds for it."""
    for name, pieces in chosen(model, targets).items():
        above = name.rpartition(".")[0]
        parts = {part: make(f"{above}.{part}", piece) for part, piece in pieces.items()}
        put(model.get_submodule(name), Parted(parts))


def held(model: nn.Module) -> dict[str, nn.Module]:
    """The part that changes each piece, by the piece's name."""
    return {
        f"{name.rpartition('.')[0]}.{part}": changed
        for name, module in model.named_modules()
        for part, changed in (
            module.adapter.parts.items() if isinstance(getattr(module, "adapter", None), Parted) else ()
        )
    }


def pack(model: nn.Module) -> None:
    """Put every linear map inside the blocks into 4 bits that is not yet."""
    for name in found(model):
        model.set_submodule(name, packed(name, model.get_submodule(name)))


def packed(name: str, module: nn.Module) -> nn.Module:
    """A module of a model in 4 bits, if it is a linear map inside the blocks."""
    return quantised(module) if isinstance(module, nn.Linear) and name.startswith(INSIDE) else module
