"""Rotary positions in config.json: `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""

from typing import Any

from viva.base.choice import names, variant
from viva.base.config import kind
from viva.base.errors import Refusal, nearest
from viva.model.arch._family import Keys
from viva.model.position import rope

SCALINGS = "viva.model.position.scaling"
THEIRS = {"trained": "original_max_position_embeddings"}  # every other field has the same name on both sides
OURS = {theirs: ours for ours, theirs in THEIRS.items()}


def read(keys: Keys, context: int, theta: float = 10_000.0) -> rope.Config:
    """The rotary scheme of a config.json whose context is `context`; an unknown type or field is refused."""
    given = _given(keys)
    top = keys.take("rope_theta", None)
    theta = next(value for value in (given.pop("rope_theta", None), top, theta) if value is not None)
    name = given.pop("rope_type", "default")
    if name not in names(SCALINGS):
        raise Refusal(f"rope_type in {keys.where} must be known", repr(name), nearest(str(name), names(SCALINGS)))
    scaling = variant(SCALINGS, name).Config
    fields = {OURS.get(key, key): value for key, value in given.items()}
    if fields.get("partial_rotary_factor") == 1.0:
        del fields["partial_rotary_factor"]
    if "trained" in scaling.model_fields and (name == "dynamic" or "trained" not in fields):
        fields["trained"] = context  # dynamic scaling is relative to the model's own context
    if unknown := sorted(set(fields) - set(scaling.model_fields)):
        fix = "use a model without these fields"
        raise Refusal(f"rope fields of {name} in {keys.where} must be known", ", ".join(unknown), fix)
    needed = {key for key, field in scaling.model_fields.items() if field.is_required()}
    if absent := sorted(THEIRS.get(key, key) for key in needed - set(fields)):
        fix = "complete the file, or download it again"
        raise Refusal(f"rope fields of {name} in {keys.where} must all be there", f"no {', '.join(absent)}", fix)
    return rope.Config(theta=theta, scaling=scaling(**fields))


def _given(keys: Keys) -> dict[str, Any]:
    """What the two sections say, where neither contradicts the other; what is null in one is not said."""
    sections = {name: keys.section(name) for name in ("rope_scaling", "rope_parameters")}
    for name, section in sections.items():
        said = {key: value for key, value in section.items() if value is not None}
        older = said.pop("type", None)
        sections[name] = said if older is None else {"rope_type": older, **said}
    older, newer = sections.values()
    if twice := sorted(key for key in older.keys() & newer.keys() if older[key] != newer[key]):
        found = ", ".join(f"{key} {older[key]!r} and {newer[key]!r}" for key in twice)
        must = f"rope_scaling and rope_parameters in {keys.where} must not contradict each other"
        raise Refusal(must, found, "remove the one that is wrong")
    return {**older, **newer}


def write(config: rope.Config, context: int) -> dict[str, Any]:
    """The keys of config.json for a rotary scheme of a model whose context is `context`, in the form every version of
    transformers reads.
    """
    name, fields = kind(config.scaling), config.scaling.model_dump(exclude_none=True)
    if name == "stepped":
        fix = "choose dynamic, which theirs has, or build the model with the kind custom"
        raise Refusal("a scaling must be one that transformers has for a family's files to say it", name, fix)
    if name == "dynamic" and fields.pop("trained") != context:  # there it is the context itself
        must, found = "a dynamic scaling must be trained at the model's context", config.scaling.trained
        fix = "build the model with the kind custom, or choose yarn, whose files name both"
        raise Refusal(f"{must} of {context} for a family's files to say it", found, fix)
    scaling = {THEIRS.get(key, key): value for key, value in fields.items()}
    return {"rope_theta": config.theta, "rope_scaling": None if name == "default" else {"rope_type": name, **scaling}}
