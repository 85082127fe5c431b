"""Normalisation over the width E, one file a variant: `Config.build(width)` gives a module [..., E] -> [..., E].

It has a `weight` [E], and at first removes a scale: norm(c x) = norm(x) for c > 0. Each vector is normed by itself,
unless Config and module say `over_batch`: the module then takes `real` [B, T], which tokens are no padding.
"""

from functools import partial

from torch import Tensor, nn

from viva.base.config import Config, kind
from viva.base.errors import Refusal


def over_batch(norm: Config | nn.Module | None) -> bool:
    """Whether what becomes of a vector depends on the others of its batch."""
    return getattr(norm, "over_batch", False)


def by_batch(module: nn.Module) -> bool:
    """Whether it is a norm over the batch that, not being frozen, goes by the batch in training."""
    return over_batch(module) and hasattr(module, "weight") and module.weight.requires_grad


def require_alone(norm: Config | None, place: str) -> None:
    """Refuse a norm over the batch where nothing says which tokens are real."""
    if over_batch(norm):
        fix = "use layernorm or rmsnorm here; batchnorm is for blocks, behind the last one and on the embeddings"
        raise Refusal(f"{place} must norm each vector by itself", kind(norm), fix)


def told(real: Tensor | None, *norms: nn.Module | None) -> tuple:
    """The norms, with `real` for those that must know it; it is None unless a stack has one of them and padding."""
    return norms if real is None else tuple(partial(norm, real=real) if over_batch(norm) else norm for norm in norms)
