"""`viva fields`: the fields of a recipe, and of a search of its settings, with their types and defaults, out of the
classes that read them.
"""

import inspect
from collections.abc import Iterable, Iterator
from types import ModuleType, NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from viva.base.choice import folder_of, names, variant
from viva.base.config import Config
from viva.base.errors import Refusal, nearest

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Section = type[Config] | str  # a class of fields, or the folder of the kinds that a recipe chooses from

WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", NoneType: "none", Any: "any value"}
BOUNDS = {
    "gt": "above",
    "ge": "at least",
    "lt": "below",
    "le": "at most",
    "min_length": "in number at least",
    "pattern": "of the form",
}
# of a scheme of positions, as measured by tests/learns/test_extrapolation.py
EXTRAPOLATES = {True: "It extrapolates to four times the trained length.", False: "It does not extrapolate."}


def fields(what: str | None = None, kind: str | None = None) -> None:
    """Show the fields of a section of a recipe, or of a search's: what may stand there, and what does where one is left
    out.

    Example: viva fields

    Example: viva fields train

    Example: viva fields objective masked

    Example: viva fields position rope

    Example: viva fields sampler tpe

    Parameters
    ----------
    what
        the section by its name in a recipe, however deep it stands, or `search`, what `viva search` is told; left out,
        the recipe, and the names of all sections
    kind
        of a section that has a `kind`, one of them; left out, all are named
    """
    from viva.cli import table
    from viva.train.recipe import Recipe
    from viva.train.search.plan import Plan

    known = {**sections(Recipe), **sections(Plan), "search": [Plan]}
    if what is None:
        _describe(Recipe)
        print()
        table.show(["section", "what it holds"], [[n, "; or ".join(map(_holds, meant))] for n, meant in known.items()])
        return
    if what not in known:
        raise Refusal("what is shown must be a section of a recipe", repr(what), nearest(what, sorted(known)))
    for section in known[what] if kind is None else [_chosen(what, known[what], kind)]:
        if isinstance(section, str):
            table.show(["kind", "what it is"], [[name, _summary(variant(section, name))] for name in names(section)])
            print()
        else:
            _describe(section)


def sections(root: type[Config]) -> dict[str, list[Section]]:
    """All below `root` that has fields, by the name of the field it stands in, which may mean more than one thing."""
    found: dict[str, list[Section]] = {}
    ahead, folders = [root], set()
    for owner in ahead:  # which grows on the way
        for name, info in owner.model_fields.items():
            for section in _within(info.annotation, info.metadata):
                found.setdefault(name, []).append(section)
                ahead += [inside for inside in _classes(section) if inside not in ahead]
                folders |= {section} if isinstance(section, str) else set()
    # a family may hold one kind of a choice alone, which is shown as a kind of it
    kinds = {inside for folder in folders for inside in _classes(folder)}
    own = {name: [each for each in dict.fromkeys(meant) if each not in kinds] for name, meant in found.items()}
    return {name: meant for name, meant in own.items() if meant}


def _within(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[Section]:
    """The sections that a field of this type may hold."""
    if (folder := folder_of(metadata)) is not None:
        yield folder
    elif get_origin(annotation) is Annotated:
        yield from _within(annotation.__origin__, annotation.__metadata__)
    elif isinstance(annotation, type) and issubclass(annotation, Config):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _within(part)


def _classes(section: Section) -> list[type[Config]]:
    return [variant(section, name).Config for name in names(section)] if isinstance(section, str) else [section]


def _chosen(what: str, meant: list[Section], kind: str) -> type[Config]:
    """The class of one kind of a section."""
    kinds = {name: folder for folder in meant if isinstance(folder, str) for name in names(folder)}
    if kind not in kinds:
        raise Refusal(f"{what} must be of a known kind", repr(kind), nearest(kind, sorted(kinds)))
    return variant(kinds[kind], kind).Config


def _summary(module: ModuleType) -> str:
    """What stands first in a file: its first paragraph in one line; of a scheme of positions also whether
    it extrapolates.
    """
    first = " ".join((inspect.getdoc(module) or "").partition("\n\n")[0].split())
    said = getattr(getattr(module, "Config", None), "extrapolates", None)
    return first if said is None else f"{first} {EXTRAPOLATES[said]}"


def _holds(section: Section) -> str:
    return f"one of {', '.join(names(section))}" if isinstance(section, str) else f"the fields of {_title(section)}"


def _title(section: type[Config]) -> str:
    """The name of a class; of a variant the kind, its file's name."""
    return section.__module__.rpartition(".")[2] if section.__name__ == "Config" else section.__name__


def _describe(section: type[Config]) -> None:
    """Print what documents a class of fields, those it inherits included, and the fields in a table. A base without
    fields of its own documents none.
    """
    from viva.cli import table

    if section.__name__ == "Config":
        print(f"{_title(section)}: {_summary(inspect.getmodule(section))}\n")
    for owner in section.__mro__[: section.__mro__.index(Config)]:
        if owner is section or inspect.get_annotations(owner).keys() & section.model_fields.keys():
            print(f"{inspect.cleandoc(owner.__doc__ or '')}\n")
    rows = [
        [name, _type(info.annotation, info.metadata), _default(info), info.description or ""]
        for name, info in section.model_fields.items()
    ]
    heads = ["field", "type", "default", "meaning"][: 3 + any(row[3] for row in rows)]
    table.show(heads, [row[: len(heads)] for row in rows] or [["none"]])


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type with its bounds in words."""
    if (folder := folder_of(metadata)) is not None:
        return f"a kind of {folder.rpartition('.')[2]}"
    limits = [limit for each in metadata for limit in getattr(each, "metadata", [each])]
    bounds = [f"{word} {getattr(each, key)}" for each in limits for key, word in BOUNDS.items() if hasattr(each, key)]
    return ", ".join([_plain(annotation), *bounds])


def _plain(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Annotated:
        return _type(annotation.__origin__, annotation.__metadata__)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin is dict:
        return f"by name: {_plain(inner[1])}"
    if origin is tuple:
        return f"list of {'' if ... in inner else f'{len(inner)}: '}{_plain(inner[0])}"
    if inner:
        return " or ".join(map(_plain, inner))
    return f"the fields of {_title(annotation)}"


def _default(info: "FieldInfo") -> str:
    if info.is_required():
        return "must be given"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, Config):
        return _title(type(value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, {}) else str(value).lower() if isinstance(value, bool) else str(value)
