"""What serving a model takes, against what there is."""

from dataclasses import dataclass

from viva.base import machine
from viva.base.errors import Refusal
from viva.base.product import exact
from viva.infer.engine.schedule import Limits
from viva.model.transformer import Transformer

SHARE = 0.8  # of the memory that is free: the rest is for what is not counted


@dataclass(frozen=True)
class Plan:
    """Bytes: `weights`, `activations` of the largest step, `token` for the keys and values of one, `have`; and the
    `tokens` that fit beside each other. `packed`: there is room for weights as they are multiplied the fastest.
    """

    weights: int
    activations: int
    token: int
    have: int
    tokens: int
    context: int
    packed: bool

    def __str__(self) -> str:
        """One line: need against have, and the largest batches that fit."""
        gib = lambda n: f"{n / 2**30:.2f}"  # noqa: E731
        need = self.weights + self.activations + self.token * self.tokens
        full, half = max(1, self.tokens // self.context), max(1, 2 * self.tokens // self.context)
        return (
            f"memory: weights {gib(self.weights)} + activations {gib(self.activations)} + {self.token:,} bytes a token"
            f" x {self.tokens:,} tokens = {gib(need)} of {gib(self.have)} GiB; that is {full:,} requests of the whole"
            f" context of {self.context:,} tokens, {half:,} of half of it, or one of"
            f" {min(self.context, self.tokens):,}"
        )


def plan(
    model: Transformer,
    limits: Limits,
    tokens: int | None = None,
    have: int | None = None,
    beside: Transformer | None = None,
) -> Plan:
    """How many `tokens` fit, or whether those told do; weights count as they lie in memory already.

    At most as many as `limits.rows` requests of the whole context can use. A model `beside` keeps as many tokens.
    Refused: where not even one request of a few tokens fits, or fewer than were told.
    """
    if tokens is not None and tokens < 1:
        found, fix = f"{tokens} tokens", "give more, or leave it out for what memory holds"
        raise Refusal("there must be room for the keys and values of a token", found, fix)
    spec, weight = model.spec, model.embedding.weight
    token = sum(_kept(each) for each in (model, beside) if each is not None)
    weights = held = sum(p.numel() * p.element_size() for p in {id(p): p for p in model.parameters()}.values())
    activations = _activations(model, limits)
    free = machine.free(weight.device.type) if have is None else have
    room = int(SHARE * free) - activations
    packed = exact(weight) and weights < room // 2
    room -= weights if packed else 0
    weights *= 1 + packed
    most = min(room // token, limits.rows * spec.context)
    if tokens is not None and tokens > room // token:
        found = f"room for {max(0, room // token):,}, with {free / 2**30:.2f} GiB free"
        raise Refusal(f"{tokens:,} tokens must fit memory beside the weights", found, "serve fewer at a time")
    if most < 16:
        found = f"{free / 2**30:.2f} GiB free, of which a step takes {activations / 2**30:.2f}"
        raise Refusal("there must be memory for keys and values beside the weights", found, "take a smaller model")
    return Plan(weights, activations, token, free + held, tokens or most, spec.context, packed)


def _kept(model: Transformer) -> int:
    """Bytes of the keys and values of a token."""
    heads = [model.spec.decoder.block(layer).attention for layer in range(model.spec.decoder.layers)]
    return sum(2 * a.kv_heads * a.head_dim for a in heads) * model.embedding.weight.element_size()


def _activations(model: Transformer, limits: Limits) -> int:
    """Of the largest step: what lives at once of a layer, and the scores with what a draw makes of them."""
    spec = model.spec
    widest = max(sum(p.shape[0] for p in layer.parameters() if p.ndim == 2) for layer in model.decoder.layers)
    layer = limits.tokens * (4 * spec.width + widest) * 4
    scores = limits.rows * spec.vocab * (4 + 4 * 8)  # fp32, and the draw's fp64
    return layer + scores
