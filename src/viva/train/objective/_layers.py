"""What a student takes over of a teacher's inside: the states of its layers, and who attends to whom (TinyBERT, Jiao et
al. 2019, https://arxiv.org/abs/1909.10351, section 3.1).

Layers are counted from 1, and paired by a table; layer 0 is what enters the first one. Of the states h of the student
and k of the teacher at a token, and the attention weights a and b of that token, [H, S], the losses of a pair are

    states: mean_E (W h - k)^2 (eq. 8),    attention: mean_H sum_S (a - b)^2 (eq. 7)

W is learned where the widths differ. Of attention TinyBERT's loss is the mean over S of scores before the softmax; here
it is the sum, of weights, so that it does not shrink with the length of a document.
"""

from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.linear.dense import Linear
from viva.model.transformer import Transformer
from viva.model.whole import Whole
from viva.train.batch import Batch

Pairs = tuple[tuple[int, int], ...]


class States(Config):
    """`weight` of the states' loss in the whole; `layers`: pairs of a layer of the student and one of the teacher. Left
    out, all of the student's, beside as many evenly spaced ones of the teacher.
    """

    weight: NonNegativeFloat = 0.0
    layers: tuple[tuple[NonNegativeInt, NonNegativeInt], ...] | None = Field(None, min_length=1)

    def pairs(self, student: Whole, teacher: Whole) -> Pairs:
        return paired("hidden", self, student, teacher, first=0)


class Weights(Config):
    """The same of attention weights, which are those of layers from 1 on."""

    weight: NonNegativeFloat = 0.0
    layers: tuple[tuple[PositiveInt, PositiveInt], ...] | None = Field(None, min_length=1)

    def pairs(self, student: Whole, teacher: Whole) -> Pairs:
        found = paired("attention", self, student, teacher, first=1)
        for one, other in found:
            heads = [stack(model).block(at - 1).attention.heads for model, at in ((student, one), (teacher, other))]
            if heads[0] != heads[1]:
                must = "layers must have as many heads to attend alike"
                fix = f"give the student {heads[1]} heads, or set objective.attention.weight to 0"
                raise Refusal(must, f"{heads[0]} of the student's layer {one}, {heads[1]} of the teacher's", fix)
        return found


def paired(name: str, part: States | Weights, student: Whole, teacher: Whole, first: int) -> Pairs:
    """The pairs that a part of the loss compares; none where it weighs nothing."""
    if not part.weight:
        return ()
    mine, theirs = (depth(model, role, name) for model, role in ((student, "student"), (teacher, "teacher")))
    if part.layers is None:
        if theirs % mine:
            fix = f"say objective.{name}.layers, for example [[{mine}, {theirs}]]"
            must = "a teacher must have a multiple of the student's layers for these to be spaced evenly"
            raise Refusal(must, f"{theirs} and {mine}", fix)
        return tuple((layer, layer * theirs // mine) for layer in range(first, mine + 1))
    for one, other in part.layers:
        if one > mine or other > theirs:
            fix = f"give pairs of at most [{mine}, {theirs}]"
            raise Refusal(f"objective.{name}.layers must name layers that there are", f"[{one}, {other}]", fix)
    return part.layers


def depth(model: Whole, role: str, name: str) -> int:
    """How many layers a model has."""
    if not isinstance(model, Transformer):
        fix = f"set objective.{name}.weight to 0, and let it learn from the teacher's scores"
        raise Refusal(
            f"a {role} must have layers of its own to be compared by", "a recurrent or convolutional one", fix
        )
    return stack(model).layers


def stack(model: Transformer):
    """The spec of its one stack."""
    return model.spec.stacks[0]


@dataclass(frozen=True)
class Seen:
    """One model's pass: its last states [B, T, E], those of some layers, and the attention weights of some, by name."""

    last: Tensor
    states: dict[int, Tensor]
    weights: dict[str, Tensor]


def seen(model: Whole, batch: Batch, states: list[int], attention: list[int]) -> Seen:
    """What a model makes of a batch, with the states and the attention weights of these layers."""
    kept = {"states": dict.fromkeys(states), "weights": {str(layer - 1): None for layer in attention}}
    given = {name: layers for name, layers in kept.items() if layers}
    if model.tells_segments:
        given["segments"] = batch.segments
    return Seen(model.hidden(batch.ids, batch.layout, **given), **kept)


class Likeness(nn.Module):
    """How far a student's layers are from a teacher's, with the maps W of the pairs whose widths differ.

    A map begins as the identity of the numbers that both have: nothing is drawn.
    """

    def __init__(self, states: States, weights: Weights, student: Whole, teacher: Whole):
        super().__init__()
        self.states, self.weights = states.pairs(student, teacher), weights.pairs(student, teacher)
        widths = student.spec.width, teacher.spec.width
        maps = {f"{one}-{other}": Linear(*widths, bias=False) for one, other in self.states if widths[0] != widths[1]}
        self.maps = nn.ModuleDict(maps).to(student.embedding.weight.device)
        for mapped in maps.values():
            nn.init.eye_(mapped.weight)

    def seen(self, student: Whole, teacher: Whole, batch: Batch) -> tuple[Seen, Seen]:
        """Both models' passes, with what is compared of them; the teacher's without gradient."""
        mine, theirs = ([[pair[side] for pair in part] for part in (self.states, self.weights)] for side in (0, 1))
        with torch.no_grad():
            aims = seen(teacher, batch, *theirs)
        return seen(student, batch, *mine), aims

    def of(self, mine: Seen, theirs: Seen) -> dict[str, Tensor]:
        """The losses by name, a number a token [B, T], summed over the pairs of layers; of those that are compared."""
        hidden = [self._states(pair, mine.states, theirs.states) for pair in self.states]
        attention = [self._weights(pair, mine.weights, theirs.weights) for pair in self.weights]
        return {name: sum(found) for name, found in (("hidden", hidden), ("attention", attention)) if found}

    def _states(self, pair: tuple[int, int], mine: dict[int, Tensor], theirs: dict[int, Tensor]) -> Tensor:
        name = "{}-{}".format(*pair)
        h = mine[pair[0]]
        h = self.maps[name](h) if name in self.maps else h
        return (h.float() - theirs[pair[1]].float()).square().mean(-1)

    def _weights(self, pair: tuple[int, int], mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
        a, b = mine[str(pair[0] - 1)], theirs[str(pair[1] - 1)]
        return (a.float() - b.float()).square().sum(-1).mean(1)
