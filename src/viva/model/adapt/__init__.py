"""Adapters, one a file: few new parameters inside a frozen model.

`Config.attach(model, seed)` puts a `Change` into each module it is for. A change is a module of its own, held under the
name `adapter` by the one that it changes, so that the model's own tensors keep their names.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from viva.base.config import Config
from viva.base.errors import Refusal


class Base(Config):
    """The base of each file's Config."""

    def attach(self, model: nn.Module, seed: int) -> None:
        """Put the adapter into the model, its starting weights drawn by `seed`; refused where nothing fits."""
        raise NotImplementedError

    def kept_as(self, name: str, module: nn.Module) -> nn.Module:
        """What a module of the base is kept as, as soon as its weights are read; by default as it is."""
        return module

    def begin(self, model: nn.Module, encode: Callable[[str], list[int]] | None) -> None:
        """Set what begins as a text of the config says, whose ids `encode` gives; by default nothing does."""

    def folded(self, model: nn.Module) -> "Base":
        """Keep in the model what the adapter computes with and not what made that, and return the config of it; by
        default they are the same.
        """
        return self


class Change(nn.Module):
    """What is done to what goes into a module and to what comes out of it, as long as it is `on`."""

    on = True

    def before(self, x: Tensor) -> Tensor:
        """What the module reads in place of `x`."""
        return x

    def after(self, module: nn.Module, x: Tensor, y: Any) -> Any:
        """What is given on in place of `y`, which the module made of `x`."""
        return y


def put(module: nn.Module, change: Change) -> None:
    """Let `module` compute with the change."""
    if hasattr(module, "adapter"):
        raise Refusal("a module must be changed by one adapter", "a second", "attach it to the model without adapter")
    module.adapter = change
    module.register_forward_pre_hook(_before)
    module.register_forward_hook(_after)


def _before(module: nn.Module, given: tuple) -> tuple:
    change = module.adapter
    return (change.before(given[0]), *given[1:]) if change.on else given


def _after(module: nn.Module, given: tuple, y: Any) -> Any:
    change = module.adapter
    return change.after(module, given[0], y) if change.on else y


def attach(
    model: nn.Module,
    config: Base,
    seed: int = 0,
    keep: Sequence[str] = (),
    encode: Callable[[str], list[int]] | None = None,
) -> None:
    """Freeze the model, except the parts named in `keep`, such as a new head, and put the adapter into it; `encode`
    gives the ids of a text that it is to begin as.
    """
    if adapted(model):
        fix = "attach it to the base, or merge the first one: viva merge BASE ADAPTER OUT"
        raise Refusal("a model must have one adapter", "one that has an adapter", fix)
    model.requires_grad_(False)
    for name in keep:
        model.get_submodule(name).requires_grad_(True)
    config.attach(model, seed)
    config.begin(model, encode)


def changes(model: nn.Module) -> Iterator[Change]:
    """Of every module that has one."""
    return (module for module in model.modules() if isinstance(module, Change))


def adapted(model: nn.Module) -> bool:
    """Whether the model has an adapter."""
    return next(changes(model), None) is not None


@contextmanager
def without(model: nn.Module) -> Iterator[nn.Module]:
    """Inside, the model computes as its base; a head that was trained with the adapter stays."""
    found = [change for change in changes(model) if change.on]
    for change in found:
        change.on = False
    try:
        yield model
    finally:
        for change in found:
            change.on = True


def twin(model: nn.Module) -> nn.Module:
    """The same model, whose weights it shares, for an adapter of its own."""
    return deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
