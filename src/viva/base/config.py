"""Strict, frozen configuration: a YAML recipe plus `a.b.c=value` overrides, read by the types of the fields.

An unknown key, a repeated key, a wrong type or a NaN is refused; nothing is ignored.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from viva.base.errors import Refusal, nearest

C = TypeVar("C", bound="Config")
SECTION = re.compile(r"\{\s*[\w.\-]+\s*:.*\}", re.DOTALL)  # in YAML, such as {kind: bert, width: 64}


class Config(BaseModel):
    """The base of every configuration: frozen, comparable, and deaf to keys it does not know.

    A section given in part keeps the rest of its default: `{position: {theta: 1e6}}` changes theta alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for key in data:
            if key not in cls.model_fields:
                fix = nearest(str(key), sorted(cls.model_fields))
                raise PydanticCustomError("unknown_key", "unknown key {key}; {fix}", {"key": repr(key), "fix": fix})
            if isinstance(data[key], bool) and "bool" not in str(cls.model_fields[key].annotation):
                # pydantic takes true for the number 1
                found = {"key": repr(key), "found": repr(data[key])}
                raise PydanticCustomError("no_switch", "{key} is no switch, but was given {found}", found)
        return {key: _filled_in(cls.model_fields[key], value) for key, value in data.items()}


def kind(config: Config) -> str:
    """The key of a variant's config: the name of the file that defines its class."""
    return type(config).__module__.rsplit(".", 1)[-1]


def _filled_in(field: FieldInfo, given: Any) -> Any:
    """`given`, with what it leaves out taken from the default section it stands in for."""
    default = field.get_default()
    if not isinstance(default, Config) or not isinstance(given, dict) or "kind" in given:
        return given
    variant = {} if field.annotation is type(default) else {"kind": kind(default)}
    return {**variant, **dict(default), **given}


class _OneKeyOnce(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys; here the second is refused."""


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            line = node.start_mark.line + 1
            raise Refusal(f"a section must name each key once (line {line})", f"{key!r} twice", "remove one of them")
    return loader.construct_mapping(node, deep=True)


_OneKeyOnce.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; a missing file, a syntax error or another shape is refused."""
    path = Path(path)
    if not path.is_file():
        near = sorted(p.as_posix() for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        fix = nearest(path.as_posix(), near) if near else "give the path of a YAML file"
        raise Refusal("a recipe must be an existing file", path.as_posix(), fix)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} must be UTF-8 text", str(error), "save the file as UTF-8") from None
    try:
        tree = yaml.load(text, Loader=_OneKeyOnce)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refusal(f"{path} must be valid YAML", " ".join(str(error).split()), "mend that line") from None
    if not isinstance(tree, dict):
        raise Refusal(f"{path} must hold `key: value` lines", type(tree).__name__, "start from a file in recipes/")
    return tree


def overridden(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of `tree` in which the leaf at the dotted `path` is `value`; sections are made on the way.

    >>> overridden({"a": {"b": 1}}, "a.c", 2)
    {'a': {'b': 1, 'c': 2}}
    """
    head, _, rest = path.partition(".")
    if isinstance(tree, list):
        if not head.isdigit() or int(head) >= len(tree):
            raise Refusal(f"an index into a list of {len(tree)} must be below it", repr(head), "count from 0")
        return [
            overridden(item, rest, value) if i == int(head) and rest else value if i == int(head) else item
            for i, item in enumerate(tree)
        ]
    below = tree.get(head) or {}
    if isinstance(below, str) and rest:
        below = {"kind": below}  # `position: rope` is short for `position: {kind: rope}`
    if rest and not isinstance(below, dict | list):
        raise Refusal(f"{head} must be a section to hold {rest}", repr(below), f"set {head} itself")
    return {**tree, head: overridden(below, rest, value) if rest else value}


def parse(schema: type[C], tree: dict[str, Any], overrides: Iterable[str] | dict[str, Any] = (), name: str = "") -> C:
    """Validate `tree`, changed by `overrides`, against `schema`.

    An override is `a.b.c=value` or an entry of a dict. Its text is read by the type of the field it names (so
    3e-4 is a float and 007 stays a path); a section, `{key: ...}`, and text that the type cannot take as it stands are
    read as YAML (`[1, 2]`).
    """
    given = dict(overrides) if isinstance(overrides, dict) else _given_once(map(_split, overrides))
    _require_in_order(given)
    given = {path: _given(path, value) for path, value in given.items()}
    for path, value in given.items():
        tree = overridden(tree, path, value)
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        wrong = {".".join(map(str, where)) for where, _, _ in _flat(error)}
    for path, value in given.items():
        if isinstance(value, str) and any(at == path or at.startswith(path + ".") for at in wrong):
            tree = overridden(tree, path, _as_yaml(path, value))
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise refusal(error, name or schema.__name__) from None


def _given(path: str, value: Any) -> Any:
    """The value of an override, text where its type is to say what it means."""
    if isinstance(value, str) and SECTION.fullmatch(value):
        return _as_yaml(path, value)
    return None if value == "null" else value


def _as_yaml(path: str, value: str) -> Any:
    try:
        return yaml.load(value, Loader=_OneKeyOnce)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        found = f"{value!r} ({' '.join(str(error).split())})"
        raise Refusal(f"{path} must have a value that can be read", found, "write it as YAML") from None


def read(schema: type[C], path: str | Path, overrides: Iterable[str] | dict[str, Any] = ()) -> C:
    """Read the recipe at `path` as `schema`, changed by `overrides`."""
    return parse(schema, read_yaml(path), overrides, name=str(path))


def _split(item: str) -> tuple[str, str]:
    path, equals, value = item.partition("=")
    if not equals or not path:
        raise Refusal("an override must have the form section.key=value", repr(item), "write for example train.lr=3e-4")
    return path, value


def _given_once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Overrides by their paths, no two of which are the same."""
    given: dict[str, str] = {}
    for path, value in pairs:
        if path in given:
            found = f"{path}={given[path]} and {path}={value}"
            raise Refusal("an override must be given once", found, "remove one of them")
        given[path] = value
    return given


def _require_in_order(given: dict[str, Any]) -> None:
    """Refuse a section behind a field of it, which it would undo."""
    paths = list(given)
    for place, path in enumerate(paths):
        if above := next((later for later in paths[place:] if path.startswith(f"{later}.")), None):
            found = f"{path} before {above}"
            raise Refusal("a section must be set before a field of it", found, f"write {path} behind {above}")


def _flat(error: ValidationError, above: tuple = ()) -> list[tuple[tuple, str, Any]]:
    """(where, message, input) of every fault, those inside a Choice included. A list whose items are at fault is not
    too short besides.
    """
    faults, places = [], [fault["loc"] for fault in error.errors()]
    for fault in error.errors():
        at = fault["loc"]
        if fault["type"] == "too_short" and any(at == place[: len(at)] != place for place in places):
            continue
        where = (*above, *(str(part) for part in at))
        inner = fault.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            faults += _flat(inner, where)
        else:
            faults.append((where, fault["msg"], fault["input"]))
    return faults


def refusal(error: ValidationError, name: str) -> Refusal:
    """The faults of a recipe in one sentence each: section and key, what is wrong, what was given."""
    lines = []
    for where, message, given in _flat(error):
        at = ".".join(where) or "the top level"
        shown = "" if isinstance(given, (dict, Config)) else f" (given {given!r})"
        lines.append(f"{at}: {message.removeprefix('Value error, ')}{shown}")
    return Refusal(f"{name} must match its schema", "; ".join(lines), "correct what is named")
