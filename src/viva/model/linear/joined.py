"""Several linear maps of one input, their matrices one below another in one: q, k and v; gate and up.

One product reads the input once where a text is decoded. The names of the parts are those of the checkpoint's table
(model/arch), so a family says `attention.q` whether or not q stands alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from viva.base.product import ours, product
from viva.model.linear.dense import trained


class Joined(nn.Linear):
    """x [..., in] -> a tensor [..., out] for each of the named `parts`."""

    def __init__(self, inside: int, parts: dict[str, int], bias: bool = False):
        super().__init__(inside, sum(parts.values()), bias=bias)
        self.names, self.outs = tuple(parts), tuple(parts.values())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled() and ours(x):
            return trained(x, self.weight, self.bias, self.outs)
        return product(x, self.weight, self.bias).split_with_sizes(self.outs, -1)


def pieces(model: nn.Module, of=lambda parameter: parameter) -> dict[str, Tensor]:
    """Every parameter by name, or what `of` makes of it; one of a Joined as the views that are its parts. What is kept
    beside them, such as a running mean, comes as it is.

    `attention.qkv.weight` comes as `attention.q.weight`, `attention.k.weight`, `attention.v.weight`.
    """
    found = {}
    for prefix, module in model.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            for name, part in zip(names(prefix, module, leaf), split(module, of(parameter)), strict=True):
                found[name] = part
        found |= {f"{prefix}.{leaf}": buffer for leaf, buffer in module.named_buffers(recurse=False)}
    return found


def assemble(
    model: nn.Module,
    found: dict[str, Tensor],
    of: Callable[[Tensor], Tensor] = lambda part: part,
    kept_as: Callable[[str, nn.Module], nn.Module] = lambda name, module: module,
) -> None:
    """Give the model the parameters whose pieces are `found`, or what `of` makes of these, and what is kept beside
    them; the inverse of `pieces`. Each module is kept as `kept_as` makes it as soon as it has its own, so that no two
    need be there as they were.
    """
    for prefix in [name for name, _ in model.named_modules()]:  # the modules themselves would all be held till the end
        module = model.get_submodule(prefix)
        for leaf, _ in list(module.named_parameters(recurse=False)):
            parts = [of(found[name]) for name in names(prefix, module, leaf)]
            setattr(module, leaf, nn.Parameter(torch.cat(parts) if len(parts) > 1 else parts[0]))
        for leaf, _ in list(module.named_buffers(recurse=False)):
            setattr(module, leaf, of(found[f"{prefix}.{leaf}"]))
        if (kept := kept_as(prefix, module)) is not module:
            model.set_submodule(prefix, kept)


def names(prefix: str, module: nn.Module, leaf: str) -> list[str]:
    """The names of the pieces of parameter `leaf` of the module called `prefix`."""
    if not isinstance(module, Joined):
        return [f"{prefix}.{leaf}".lstrip(".")]
    parent = prefix.rpartition(".")[0]
    return [f"{parent}.{part}.{leaf}".lstrip(".") for part in module.names]


def split(module: nn.Module, tensor: Tensor) -> tuple[Tensor, ...]:
    """A parameter of `module`, or something of its shape, as its pieces."""
    return tensor.split(module.outs) if isinstance(module, Joined) else (tensor,)
