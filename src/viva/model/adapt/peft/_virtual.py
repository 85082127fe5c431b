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


def vectors(keys: Keys, stored: dict[str, Tensor]) -> Tensor:
    """[P, ...]: what stands in each place; refused: any other tensor. What `submodules` repeat is never read there."""
    if odd := sorted({*stored} - {MADE}) or (MADE not in stored and [f"no {MADE}"]):
        fix = "load it on the base that it was made for"
        raise Refusal(f"the tensors beside {keys.where} must be {MADE}, or of the base's head", listed(odd), fix)
    keys.ignore(**NO_EFFECT)
    return stored[MADE][: keys.take("num_virtual_tokens")]


def written(model: nn.Module, heads: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keys that all have, `heads` those of attention, and the tensor."""
    stack, made = model.stacks[-1 if model.adapter.last else 0], model.adapter.made()
    keys = {
        "num_virtual_tokens": model.adapter.count,
        "token_dim": model.spec.width,
        "num_attention_heads": heads,
        "num_layers": stack.spec.layers,
        "num_transformer_submodules": 1,
    }
    return keys, {MADE: made}


def require_last(model: nn.Module) -> None:
    """Refuse a head that pools other states here than there, where virtual tokens are pooled too."""
    pool = getattr(model.head, "pool", None) or getattr(getattr(model.head, "config", None), "pool", None)
    if pool not in (None, "last"):
        found = f"a head that pools the {pool} of a text's states"
        fix = "keep it in viva's own form, or use a decoder, whose last state both pool"
        raise Refusal("a prompt must come to the same in PEFT, where virtual tokens are pooled too", found, fix)
