"""`viva compare`: what differs between architectures, out of their Specs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from viva.base.errors import Refusal, nearest

if TYPE_CHECKING:
    from viva.base.config import Config

# what two models of one architecture may have otherwise
SIZES = {"vocab", "width", "context", "layers", "heads", "head_dim", "hidden"}
SIZES |= {"eps", "dropout", "ffn_dropout", "dense_dropout"}


def compare(*models: str, sizes: bool = False) -> None:
    """Show what differs between architectures: a column for each, a row for each field in which their Specs differ.

    A family stands there as a recipe has it that gives its sizes alone. A cell is empty where a model has no such
    field; a section that it has not at all is one row. Where encoder and decoder, or blocks that take turns, are not
    alike, a cell says each.

    Example: viva compare bert llama t5

    Example: viva compare gpt2 runs/quickstart --sizes

    Parameters
    ----------
    models
        families by their kind, and checkpoint or run folders or hub ids
    sizes
        show widths, counts, dropout and what is added to a variance as well
    """
    from viva.cli import table

    if len(models) < 2:
        raise Refusal("two models at least must be named to compare", len(models), "name another: viva compare bert t5")
    rows = differing([facts(spec(name).model_dump(mode="json"), set() if sizes else SIZES) for name in models])
    if not rows:
        print("they do not differ" if sizes else "they do not differ but in sizes: see --sizes")
        return
    table.show(["", *models], rows)


def spec(name: str) -> "Config":
    """The Spec of a family at the sizes of its tiny example, everything else as its fields have it; or of a folder."""
    from viva import api
    from viva.base.choice import names, variant
    from viva.model import folder

    families = names(folder.FAMILIES)
    if name not in families:
        if "/" not in name and not Path(name).exists():
            raise Refusal("a model must be a family, a folder or a hub id", repr(name), nearest(name, families))
        return folder.architecture(api.located(name))
    if name == "custom":
        fix = "give a run, or a folder, of such a model"
        raise Refusal("a model must have a Spec to be compared", "custom, which is nothing by itself", fix)
    family = variant(folder.FAMILIES, name)
    sizes = {field for field, info in family.Config.model_fields.items() if info.is_required()} | {"vocab"}
    return family.Config(**{field: value for field, value in family.TINY if field in sizes}).spec()


def facts(tree: dict[str, Any], left_out: set[str]) -> dict[str, str]:
    """What a Spec says, by the dotted names of its fields, those of encoder and decoder by one name."""
    stacks = {name: tree[name] for name in ("encoder", "decoder") if tree.get(name)}
    own = _facts({**tree, **{name: {} for name in stacks}}, left_out)
    shared = _together({name: _facts(stack, left_out) for name, stack in stacks.items()})
    return {name: own[name] for name in ("encoder", "decoder")} | shared | own


def differing(models: list[dict[str, str]]) -> list[list[str]]:
    """[field, its value in each model] of the fields in which they differ, "" where a model has no such field, which is
    as good as "none". What is inside a section is compared among those that have the section.
    """
    rows = []
    for field in dict.fromkeys(field for model in models for field in model):
        section = field.rpartition(".")[0]
        having = [model for model in models if _has(model, section)]
        if len({model.get(field, "none") for model in having}) > 1:
            rows.append([field, *(model.get(field, "") for model in models)])
    return rows


def _has(model: dict[str, str], section: str) -> bool:
    """Whether a model has any field of this section; "" is the whole."""
    return not section or any(field.startswith(f"{section}.") for field in model)


def _facts(section: dict[str, Any], left_out: set[str]) -> dict[str, str]:
    found = {}
    for name, value in section.items():
        if name in left_out:
            continue
        inside = _inside(value, left_out)
        if name == "kv_heads":
            found[name] = _groups(value, section["heads"], left_out)
        else:
            found[name] = "given" if inside or value == {} else _shown(value, left_out)
        found |= {f"{name}.{field}": text for field, text in inside.items()}
    return found


def _inside(value: Any, left_out: set[str]) -> dict[str, str]:
    """The facts of a section, or of blocks that take turns; a choice, which has a kind, is one fact with its fields."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return _together({f"block {number}": _facts(block, left_out) for number, block in enumerate(value)})
    return _facts(value, left_out) if isinstance(value, dict) and "kind" not in value else {}


def _shown(value: Any, left_out: set[str]) -> str:
    """A value in the words of a recipe; of a choice the kind, with the fields that are neither off nor left out."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if not isinstance(value, dict):
        return str(value)
    fields = {name: inner for name, inner in value.items() if name not in {"kind", *left_out}}
    fields = {name: inner for name, inner in fields.items() if inner is not None and inner is not False}
    told = ", ".join(name if inner is True else f"{name} {_shown(inner, left_out)}" for name, inner in fields.items())
    return " ".join(filter(None, (value.get("kind"), told and f"({told})")))


def _groups(kv_heads: int, heads: int, left_out: set[str]) -> str:
    """The number of key heads; without sizes, whether they are as many as the heads, one, or something between."""
    if "heads" not in left_out:
        return str(kv_heads)
    return "as heads" if kv_heads == heads else "one" if kv_heads == 1 else "fewer than heads"


def _together(parts: dict[str, dict[str, str]]) -> dict[str, str]:
    """The facts of several parts: one text where all that have the field agree, else that of each."""
    found = {}
    for field in dict.fromkeys(field for facts in parts.values() for field in facts):
        told = {name: facts[field] for name, facts in parts.items() if field in facts}
        alike = len({*told.values()}) == 1
        found[field] = (
            next(iter(told.values())) if alike else "; ".join(f"{name} {text}" for name, text in told.items())
        )
    return found
