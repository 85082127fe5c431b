"""Which models can be served, and how far they read."""

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.infer.use import require_one_sequence, require_writer
from viva.model.transformer import Transformer


def require_served(model: Transformer) -> None:
    """Refuse a model whose requests cannot be read side by side from one cache."""
    require_writer(model)
    require_one_sequence(model)
    fix = "use viva generate MODEL PROMPT or viva chat, which decode one text at a time"
    blocks = model.spec.decoder.of_layers
    found = None
    if model.recalls:
        found = "one that recalls segments"
    elif model.virtual is not None:
        found = "an adapter with virtual tokens"
    elif any(block.attention is None for block in blocks):
        found = "layers without attention"
    elif not all(block.attention.causal for block in blocks):
        found = "attention both ways"
    elif any(kind(block.attention.score) == "linear" for block in blocks):
        found = "linear attention, which keeps no keys"
    if found:
        raise Refusal("a model must keep keys and values of every token to be served", found, fix)


def reach(model: Transformer) -> int:
    """How many tokens of a text can be read side by side with others: the context, or as many as were trained where
    angles grow with the length at hand beyond that, so that keys would depend on the pieces in which they were read.
    """
    positions = [block.attention.position for block in model.spec.decoder.of_layers]
    turns = [getattr(position, "rope", position) for position in positions]
    scalings = [turn.scaling for turn in turns if hasattr(turn, "scaling")]
    return min([model.spec.context, *(scaling.trained for scaling in scalings if scaling.by_length)])
