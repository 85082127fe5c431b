"""Muon: momentum, orthogonalised before the step (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

Hidden matrices are stepped by Muon; embeddings, the head, norms and biases by AdamW, in the same optimizer. An
update is scaled to the root mean square of AdamW's (Liu et al. 2025, eq. 4), so that one rate serves both.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.optim.adamw import adamw

from viva.base.config import Config as Base
from viva.base.machine import faster
from viva.model.head import Vocabulary
from viva.model.linear.joined import Joined
from viva.train.optim import Beta, Named, groups, trainable

# x -> a x + b x^3 + c x^5, chosen by Jordan for the steepest slope at 0 that still keeps [0, 1] near 1
A, B, C = 3.4445, -4.7750, 2.0315
# Stacking saves launches where matrices are small; beyond this many elements its copies leave the cache.
STACKED = 2**22


Pair = tuple[Tensor, Tensor]  # a matrix and the direction in which it is to go


class Config(Base):
    """`momentum` (Nesterov's), Newton-Schulz `iterations`, and the AdamW part's own `betas`, `eps` and rate.

    `dtype` of Newton-Schulz: `auto` takes the faster of the two here, and a resumed run keeps what was taken.
    `others`: the rate of the AdamW part as a multiple of the run's.
    """

    momentum: float = Field(0.95, ge=0, lt=1)
    weight_decay: float = Field(0.1, ge=0)
    iterations: PositiveInt = 5
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    eps: float = Field(1e-8, gt=0)
    others: float = Field(1.0, gt=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """One optimizer over everything trainable in `model`."""
        hidden, others = split(model)
        dtype = self.dtype
        if dtype == "auto":
            dtype = faster(next(model.parameters()).device.type).name
        muon = {"params": hidden, "weight_decay": self.weight_decay, "scale": 1.0, "muon": True}
        muon |= {"momentum": self.momentum, "iterations": self.iterations, "dtype": dtype}
        joined = {id(module.weight): module.outs for module in model.modules() if isinstance(module, Joined)}
        cells = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
        joined |= {
            id(w): (cell.hidden_size,) * (len(w) // cell.hidden_size) for cell in cells for w in cell.parameters()
        }
        muon["rows"] = [list(joined.get(id(matrix), matrix.shape[:1])) for _, matrix in hidden]
        adam = {"scale": self.others, "muon": False, "betas": self.betas, "eps": self.eps}
        rest = [group | adam for group in groups(others, self.weight_decay)]
        return Muon([muon, *rest] if hidden else rest, {})


def split(model: nn.Module) -> tuple[list[Named], list[Named]]:
    """(hidden matrices, everything else): tables that are looked up and the head are not hidden."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding | Vocabulary)}
    named = trainable(model)
    hidden = [pair for pair in named if pair[1].ndim == 2 and id(pair[1]) not in tables]
    chosen = {name for name, _ in hidden}
    return hidden, [pair for pair in named if pair[0] not in chosen]


class Muon(torch.optim.Optimizer):
    """Steps the groups marked `muon` by Muon and the others by AdamW."""

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            if group["muon"]:
                self._muon(group)
            elif parameters := [parameter for parameter in group["params"] if parameter.grad is not None]:
                self._adamw(parameters, group)

    def _muon(self, group: dict) -> None:
        for alike in _stacks(self._directions(group)):
            directions = torch.stack([direction for _, direction in alike])
            updates = orthogonalised(directions.to(getattr(torch, group["dtype"])), group["iterations"])
            rate = group["lr"] * 0.2 * max(directions.shape[1:]) ** 0.5
            for (matrix, _), update in zip(alike, updates, strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update.to(matrix.dtype), alpha=-rate)

    def _directions(self, group: dict) -> Iterator[Pair]:
        """Each matrix with its direction; q, k and v, or a cell's gates, lie in one parameter but are several."""
        for parameter, rows in zip(group["params"], group["rows"], strict=True):
            if parameter.grad is not None:
                direction = self._nesterov(parameter, group["momentum"])
                yield from zip(parameter.split(rows), direction.split(rows), strict=True)

    def _nesterov(self, parameter: Tensor, momentum: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["momentum"], momentum)

    def _adamw(self, parameters: list[Tensor], group: dict) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
                step = torch.zeros((), device=parameter.device)
                self.state[parameter] |= {"exp_avg": first, "exp_avg_sq": second, "step": step}
        moments = [[self.state[parameter][key] for parameter in parameters] for key in ("exp_avg", "exp_avg_sq")]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters],
            *moments,
            [],
            [self.state[parameter]["step"] for parameter in parameters],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def _stacks(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Lists of matrices of one shape, each with at most STACKED elements or a single matrix."""
    by_shape = defaultdict(list)
    for pair in pairs:
        by_shape[pair[0].shape].append(pair)
    stacks = []
    for shape, alike in by_shape.items():
        count = max(1, STACKED // shape.numel())
        stacks += [alike[start : start + count] for start in range(0, len(alike), count)]
    return stacks


def orthogonalised(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Matrices [n, rows, columns] with their singular values drawn towards 1 (Newton-Schulz, quintic)."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # so that no singular value exceeds 1
    for _ in range(iterations):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=B, alpha=C)
        x = torch.baddbmm(x, polynomial, x, beta=A)
    return x.mT if tall else x
