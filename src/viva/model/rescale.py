"""A trained model under other rotary angles: the same weights, read at lengths they were not trained on."""

from typing import Any

from viva.base.config import Config, kind, parse
from viva.base.errors import Refusal
from viva.model.init import hollow
from viva.model.position import rope
from viva.model.whole import Whole


def rescaled(config: Config, scaling: Any, context: int | None = None) -> Config:
    """A family's config with another scaling (model/position/scaling) of its rotary positions, in every block that has
    them, and another `context` if it is given; refused where no position is rotary.
    """
    wanted = parse(rope.Config, {"scaling": scaling}, name="scaling").scaling
    if _scaled(config, None) == config:  # in which a rotary one would differ
        found = ", ".join(_positions(config)) or "none"
        raise Refusal("a model must have rotary positions for them to be scaled", found, "load one such as llama")
    changed = dict(_scaled(config, wanted)) | ({} if context is None else {"context": context})
    return parse(type(config), changed, name=kind(config))


def twin(model: Whole, config: Config) -> Whole:
    """The model of `config` with the weights of another, which it shares."""
    with hollow():
        other = config.spec().build()
    held = model.state_dict()
    for name, wanted in other.state_dict().items():
        if held[name].shape != wanted.shape:
            found, fix = f"{name} of shape {list(held[name].shape)}, and {list(wanted.shape)}", "leave context out"
            raise Refusal("weights must not depend on the context for it to be another", found, fix)
    other.load_state_dict(held, assign=True)
    return other.eval()


def _scaled(part: Any, scaling: Config | None) -> Any:
    """Part of a config, with `scaling` in every rotary position of it."""
    if isinstance(part, rope.Config):
        return part.model_copy(update={"scaling": scaling})
    if isinstance(part, Config):
        return part.model_copy(update={name: _scaled(below, scaling) for name, below in part})
    return tuple(_scaled(below, scaling) for below in part) if isinstance(part, tuple) else part


def _positions(config: Config) -> list[str]:
    """The kinds of positions that a Transformer has; none of any other model."""
    stacks = getattr(config.spec(), "stacks", ())
    told = (position for stack in stacks for position in (stack.entry.position, *(b.position for b in stack.blocks)))
    return sorted({kind(position) for position in told} - {"none"})
