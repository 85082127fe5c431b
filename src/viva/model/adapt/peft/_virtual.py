"""Virtual tokens in PEFT's files, where one tensor, `prompt_embeddings`, holds what was made for them."""

from typing import Any

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.arch._family import Keys
from viva.model.tensors import listed

MADE, OURS = "prompt_embeddings", "adapter.vectors.weight"
NO_EFFECT = {
    "token_dim": "the tensor's shape says it",
    "num_attention_heads": "the base says it",
    "num_layers": "the base says it",
    "encoder_hidden_size": "of what made the vectors, which are stored as they were made",
}


def vectors(keys: Keys, stored: dict[str, Tensor]) -> tuple[Tensor, int]:
    """[P, ...]: what stands in each place, and before how many stacks it is said to; of a prompt the vectors for the
    second one are never read there. Refused: other tensors, and others than P, or P for each.
    """
    if odd := sorted({*stored} - {MADE}) or (MADE not in stored and [f"no {MADE}"]):
        fix = "load it on the base that it was made for"
        raise Refusal(f"the tensors beside {keys.where} must be {MADE}, or of the base's head", listed(odd), fix)
    keys.ignore(**NO_EFFECT)
    made, count, stacks = stored[MADE], keys.take("num_virtual_tokens"), keys.take("num_transformer_submodules", 1)
    if len(made) not in (count, count * stacks):
        must = f"{MADE} beside {keys.where} must be {count} vectors, as num_virtual_tokens says"
        raise Refusal(must, len(made), "restore the file, or correct the number")
    return made[:count], stacks


def scale(model: nn.Module) -> float:
    """By which the vectors of a prompt are larger there: a table that is scaled is so before they stand beside it."""
    return model.stacks[0].entry.scale or 1.0


def written(model: nn.Module, made: Tensor, heads: int, width: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keys that all have, of attention by `heads` that are `width` wide together, and the tensor."""
    keys = {
        "num_virtual_tokens": len(made),
        "token_dim": width,
        "num_attention_heads": heads,
        "num_layers": model.stacks[-1].spec.layers,
        "num_transformer_submodules": 1,
    }
    return keys, {MADE: made}


def prompt(model: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Those of vectors before the text."""
    made = model.adapter.made() * scale(model)
    return written(model, made, model.stacks[0].spec.block(0).attention.heads, made.shape[1])
