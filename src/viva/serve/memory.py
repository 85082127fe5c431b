"""What serving a model takes, against what there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from viva.base import machine
from viva.base.errors import Refusal
from viva.base.product import exact
from viva.infer.engine.schedule import Limits
from viva.model.linear import nf4
from viva.model.size import held
from viva.model.transformer import Transformer

SHARE = 0.8  # of the memory that is free: the rest is for what is not counted


@dataclass(frozen=True)
class Plan:
    """Bytes: `weights`, `activations` of the largest step, `token` for the keys and values of one, `have`; and the
    `tokens` that fit beside each other, in whole blocks of `block`. `packed`: there is room for weights as they are
    multiplied the fastest.
    """

    weights: int
    activations: int
    token: int
    have: int
    tokens: int
    block: int
    context: int
    packed: bool

    def __str__(self) -> str:
        """One line: need against have, and the largest batches that fit."""
        gib = lambda n: f"{n / 2**30:.2f}"  # noqa: E731
        need = self.weights + self.activations + self.token * self.tokens
        full, half = (self._beside(length) for length in (self.context, math.ceil(self.context / 2)))
        return (
            f"memory: weights {gib(self.weights)} + activations {gib(self.activations)} + {self.token:,} bytes a token"
            f" x {self.tokens:,} tokens = {gib(need)} of {gib(self.have)} GiB; that is {_requests(full)} of the"
            f" whole context of {self.context:,} tokens, or {_requests(half)} of half of it; the longest one may have"
            f" {min(self.context, self.tokens):,}"
        )

    def _beside(self, length: int) -> int:
        """How many requests of so many tokens have room at a time."""
        return self.tokens // self.block // math.ceil(length / self.block)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests" if count else "no requests"


def plan(
    model: Transformer,
    limits: Limits,
    tokens: int | None = None,
    have: int | None = None,
    beside: Transformer | None = None,
    block: int = 16,
    others: Sequence[Transformer] = (),
) -> Plan:
    """How many `tokens` fit, or whether those told do, in blocks; weights count as they lie in memory already, those
    that models share once.

    At most as many as `limits.rows` requests of the whole context can use. A model `beside` keeps as many tokens;
    `others` are the model's adapters, and what else of it is loaded.
    Refused: where not even one block fits or is told, or fewer fit than were told.
    """
    if tokens is not None and tokens < block:
        raise Refusal("tokens must be a block at least", tokens, f"give room for {block} or more, or leave it out")
    spec, weight = model.spec, model.embedding.weight
    token = sum(_kept(each) for each in (model, beside) if each is not None)
    everything = [each for each in (model, *others, beside) if each is not None]
    weights = there = sum({id(tensor): tensor.nbytes for each in everything for tensor in held(each)}.values())
    activations = max(_activations(each, limits) for each in (model, *others))
    free = machine.free(weight.device.type) if have is None else have
    room = int(SHARE * free) - activations
    copies = sum(matrix.nbytes for matrix in packable(model))
    packed = 0 < copies < room // 2
    room -= copies if packed else 0
    weights += copies if packed else 0
    most = min(room // token, limits.rows * math.ceil(spec.context / block) * block)
    if tokens is not None and tokens > room // token:
        found = f"room for {max(0, room // token):,}, with {free / 2**30:.2f} GiB free"
        raise Refusal(f"{tokens:,} tokens must fit memory beside the weights", found, "serve fewer at a time")
    if most < block:
        found = f"{free / 2**30:.2f} GiB free, of which a step takes {activations / 2**30:.2f}"
        raise Refusal("there must be memory for keys and values beside the weights", found, "take a smaller model")
    whole = (tokens or most) // block * block
    return Plan(weights, activations, token, free + there, whole, block, spec.context, packed)


def packable(model: Transformer) -> list[Tensor]:
    """The matrices of which there may be a copy that lies as they are multiplied the fastest (`base/product.py`)."""
    return [weight for weight in model.parameters() if weight.ndim == 2 and exact(weight)]


def _kept(model: Transformer) -> int:
    """Bytes of the keys and values of a token."""
    heads = [block.attention for block in model.spec.decoder.of_layers]
    return sum(2 * a.kv_heads * a.head_dim for a in heads) * model.embedding.weight.element_size()


def _activations(model: Transformer, limits: Limits) -> int:
    """Of the largest step: what lives at once of a layer, and the scores with what a draw makes of them."""
    spec = model.spec
    layer = limits.tokens * (4 * spec.width + max(map(_outputs, model.decoder.layers))) * 4
    made = nf4.MADE * max((shape.numel() for shape in nf4.shapes(model)), default=0)
    scores = limits.rows * spec.vocab * (4 + 4 * 8)  # fp32, and the draw's fp64
    return layer + made + scores


def _outputs(layer: nn.Module) -> int:
    """How many numbers its linear maps make of a token."""
    matrices = [parameter.shape for parameter in layer.parameters() if parameter.ndim == 2]
    return sum(outputs for outputs, _ in (*matrices, *nf4.shapes(layer)))
