"""A rate and a decay for each part of what is trained, the model and what an objective learns beside it: by its name,
and, of the model, by its depth.

A parameter's rate is the run's, times the factor of the first pattern that it fits, times `layer_decay` once for each
block between it and the head (discriminative fine-tuning, Howard and Ruder 2018, https://arxiv.org/abs/1801.06146,
section 3.1, where the factor is 1 / 2.6): of L blocks the l-th from below has layer_decay^(L + 1 - l), what stands
below them all layer_decay^(L + 1), the head and the last norm 1. Where there are an encoder and a decoder, each counts
its own. What an objective learns has names that begin with `objective.`, such as `objective.critic.weight`; it stands
beside the model, at no depth.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase

import torch
from torch import nn

from viva.base.errors import Refusal, nearest
from viva.train.optim import trainable


def patterned(names: list[str], patterns: dict[str, float], field: str) -> dict[str, float]:
    """The value of the first pattern that each of some parameters fits, by the parameter's name; `field` is the
    recipe's, for messages. Refused: a pattern that is the first of none.

    A pattern is the name of a part, `decoder.layers.0`, or of a parameter; * stands for any characters.
    """
    found: dict[str, float] = {}
    for pattern, value in patterns.items():
        fit = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not set(fit) - set(found):
            taken = "parameters that a pattern before it has already" if fit else "nothing that is trained"
            fix = "put the narrower pattern first" if fit else nearest(pattern, names)
            must = f"each pattern of {field} must name parameters of the model or of the objective"
            raise Refusal(must, f"{pattern!r}: {taken}", fix)
        found = {**dict.fromkeys(fit, value), **found}
    return found


def by_depth(model: nn.Module, layer_decay: float) -> dict[str, float]:
    """The factor of each trainable parameter by its depth; what makes the vectors of virtual tokens stands below the
    stack that they stand before. Refused: a model without blocks, and a prefix, which stands in all of them.
    """
    stacks = {name: part for name, part in model.named_modules() if part in model.stacks}
    if not stacks:
        raise Refusal(
            "a model must have blocks for a rate that falls with depth", "none", "leave train.layer_decay out"
        )
    virtual = getattr(model, "virtual", None)
    if virtual is not None and virtual.last:
        fix = "leave train.layer_decay out"
        raise Refusal(
            "what is trained must stand at a depth for its rate to fall with it", "a prefix of all layers", fix
        )
    deepest, before = 1 + max(len(stack.layers) for stack in stacks.values()), 1 + len(model.stacks[0].layers)
    above: dict[str, int] = {}
    for name, _ in trainable(model):
        owner = next((path for path in stacks if name.startswith(f"{path}.")), None)
        part, _, rest = name.removeprefix(f"{owner}.").partition(".")
        if owner is None:
            above[name] = {"embedding": deepest, "adapter": before}.get(part, 0)
        elif part == "layers":
            above[name] = len(stacks[owner].layers) - int(rest.partition(".")[0])
        else:
            above[name] = 0 if part == "norm" else 1 + len(stacks[owner].layers)
    return {name: layer_decay**count for name, count in above.items()}


def apportion(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    rates: dict[str, float],
    decays: dict[str, float],
    layer_decay: float | None,
) -> None:
    """Split the optimizer's groups so that each has one rate, as a multiple `scale` of the run's, and one decay.

    `rates` are factors by pattern, `decays` take the place of the optimizer's weight decay, which is multiplied by the
    rate in turn where it is decoupled, as in AdamW and Muon. An optimizer without state is needed: a new one.
    """
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    factors, decays = patterned(names, rates, "train.rates"), patterned(names, decays, "train.decays")
    depth = by_depth(model, layer_decay) if layer_decay is not None else {}

    def settings(name: str, group: dict) -> tuple[float, float]:
        scale = group.get("scale", 1.0) * factors.get(name, 1.0) * depth.get(name, 1.0)
        return scale, decays.get(name, group["weight_decay"])

    optimizer.param_groups[:] = [part for group in optimizer.param_groups for part in _split(group, settings)]


def _split(group: dict, settings: Callable[[str, dict], tuple[float, float]]) -> list[dict]:
    """The group as several, each of the parameters with the same (scale, weight decay); what it holds as a list, such
    as names, has one entry a parameter.
    """
    places: dict[tuple[float, float], list[int]] = {}
    for place, name in enumerate(group["param_names"]):
        places.setdefault(settings(name, group), []).append(place)
    made = []
    for (scale, decay), own in places.items():
        lists = {key: [held[place] for place in own] for key, held in group.items() if isinstance(held, list)}
        made.append({**group, **lists, "scale": scale, "weight_decay": decay})
    return made
