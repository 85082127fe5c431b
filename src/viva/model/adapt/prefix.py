"""Prefix tuning (Li and Liang 2021, https://arxiv.org/abs/2101.00190, section 4.2): trained keys and values before
those of each text, in every layer of the decoder, or of an encoder alone.
"""

from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from viva.model.adapt import Base
from viva.model.adapt._virtual import Text, Virtual, attach, drawn, require_keys, require_text, sampled, spelled
from viva.model.cache import Cache
from viva.model.layout import Layout
from viva.model.seats import Seats

Pair = tuple[Tensor, Tensor]  # the keys and the values of a layer, [P, G, D] each


class Config(Base):
    """`length` places. They begin as the keys and values that the model itself has of so many tokens: drawn from the
    vocabulary, or those of a `text`, over again until there are enough (section 7.4). With `hidden` they are made of
    `length` vectors by two maps with a tanh between, so many numbers wide, that begin at random (section 4.3).
    """

    length: int = Field(20, gt=0)
    hidden: int | None = Field(None, gt=0)
    text: str | None = None

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.hidden is not None and self.text is not None:
            raise ValueError("keys and values that `hidden` maps make begin at random: leave out text, or hidden")
        return self

    def attach(self, model: nn.Module, seed: int) -> None:
        stack = model.stacks[-1] if model.stacks else None
        require_text(model, self.length)
        require_keys(stack)
        shapes = _shapes(stack)
        if self.hidden is not None:
            with drawn(seed):
                prefix = Mapped(self.length, shapes, model.spec.width, self.hidden)
        else:
            prefix = Prefix(self.length, shapes)
            prefix.put(_read(model, sampled(model, self.length, seed)))
        attach(model, prefix)

    def begin(self, model: nn.Module, encode: Callable[[str], list[int]] | None) -> None:
        if self.text is not None:
            ids = spelled(self.text, encode, self.length)
            model.adapter.on = False
            model.adapter.put(_read(model, ids))
            model.adapter.on = True

    @torch.no_grad()
    def folded(self, model: nn.Module) -> Base:
        plain = Prefix(self.length, _shapes(model.stacks[-1])).to(model.embedding.weight.device)
        plain.put(model.adapter.made())
        model.adapter = plain
        return self.model_copy(update={"hidden": None})


class Prefix(Virtual):
    """Of each layer keys and values [P, G, D], side by side in one table, [P, the sum of all 2 G D]."""

    last = True

    def __init__(self, count: int, shapes: list[tuple[int, int]], width: int | None = None):
        super().__init__(count)
        self.shapes = shapes
        self.size = sum(2 * G * D for G, D in shapes)
        self.vectors = nn.Embedding(count, width or self.size)

    def made(self) -> Tensor:
        """[P, the sum of all 2 G D]."""
        return self.vectors.weight

    @torch.no_grad()
    def put(self, made: Tensor) -> None:
        """Let them be these."""
        self.vectors.weight.copy_(made)

    def ahead_of(self, text: Text) -> Text:
        text = self._seated(text)
        return text._replace(cache=Before(self._layers(), text.seats, text.cache))

    def _layers(self) -> list[Pair]:
        sizes = [G * D for G, D in self.shapes for _ in range(2)]
        heads = [shape for shape in self.shapes for _ in range(2)]
        parts = [part.unflatten(1, shape) for part, shape in zip(self.made().split(sizes, 1), heads, strict=True)]
        return list(zip(parts[::2], parts[1::2], strict=True))


class Mapped(Prefix):
    """W_2 tanh(W_1 e + b_1) + b_2 of vectors e [P, E]."""

    def __init__(self, count: int, shapes: list[tuple[int, int]], width: int, hidden: int):
        super().__init__(count, shapes, width)
        self.maps = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, self.size))

    def made(self) -> Tensor:
        return self.maps(self.vectors.weight)


class Before:
    """A cache in whose virtual slots stand a prefix's keys and values, whatever the model made for them; what is kept
    is kept by `kept`, if there is one.
    """

    ragged = False

    def __init__(self, layers: list[Pair], seats: Seats, kept: Cache | None):
        self.layers, self.seats, self.kept = layers, seats, kept

    @property
    def across(self) -> dict[int, Pair]:
        return {} if self.kept is None else self.kept.across

    def update(self, layer: int, k: Tensor, v: Tensor) -> Pair:
        """k and v [B, G, T, D] of all slots -> those to be seen."""
        pairs = zip((k, v), self.layers[layer], strict=True)
        k, v = (self.seats.fill(x.transpose(1, 2), own).transpose(1, 2) for x, own in pairs)
        return (k, v) if self.kept is None else self.kept.update(layer, k, v)


class _Seen:
    """A cache that remembers of one pass what each layer gave it."""

    ragged = False

    def __init__(self):
        self.across, self.parts = {}, []

    def update(self, layer: int, k: Tensor, v: Tensor) -> Pair:
        self.parts += [k[0], v[0]]
        return k, v


@torch.no_grad()
def _read(model: nn.Module, ids: Tensor) -> Tensor:
    """[P, the sum of all 2 G D]: the keys and values that the last stack has of P tokens."""
    stack, training = model.stacks[-1], model.training
    model.eval()
    ids = ids[None].to(model.embedding.weight.device)
    memory = model.encode(ids) if len(model.stacks) > 1 else None
    seen = _Seen()
    stack(model.embedding(ids), Layout.one_document(ids.shape[1], device=ids.device), seen, memory)
    model.train(training)
    return torch.cat([part.transpose(0, 1).flatten(1) for part in seen.parts], 1)


def _shapes(stack: nn.Module) -> list[tuple[int, int]]:
    """(G, D) of each layer."""
    return [(block.attention.kv_heads, block.attention.head_dim) for block in stack.spec.of_layers]
