"""Tokenizers in the forms that others keep them in, one file a form.

A form is a module with `FILES`, what its files are called in a sentence; `find(place)`, the file of this form that
`place` is, or that lies in that folder, None where there is none; and `read(file, config)`, which makes a
`tokenizers.Tokenizer` of it and the whole of what tokenizer_config.json says, given what one beside it says. What a
form does not hold and a caller may tell (`load(path, pattern="llama3")`) stands in its `TOLD`.
"""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import tokenizers

from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.text.tokens import special

HERE = "viva.text.tokens.read"
FIRST = "tokenizer_json"  # says everything; the forms it was made from may lie beside it


def read(place: str | Path, told: dict[str, Any]) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """What does the work, and what tokenizer_config.json holds, of the tokenizer at a path; `told`: what no file says.

    Of several that lie in a folder one is read: tokenizer.json, or else a Notice says which.
    """
    form, file = _one(Path(place))
    if unused := sorted(set(told) - set(getattr(form, "TOLD", ()))):
        must = f"what is told about {file} must be what {form.FILES} may leave open"
        raise Refusal(must, ", ".join(unused), f"leave out {', '.join(unused)}: the file says it")
    core, config = form.read(file, special.read(file.parent) | told)
    if not form.__name__.endswith(FIRST):
        special.match_as_told(core, config)
    return core, {key: value for key, value in config.items() if value is not None}


def holds_one(place: str | Path) -> bool:
    """Whether there is a tokenizer at a path, in whatever form."""
    return any(form.find(Path(place)) for form in _forms())


def _forms() -> list[ModuleType]:
    """Every form, the one that says everything first."""
    return [variant(HERE, name) for name in sorted(names(HERE), key=lambda name: (name != FIRST, name))]


def _one(place: Path) -> tuple[ModuleType, Path]:
    found = [(form, file) for form in _forms() if (file := form.find(place))]
    if not found:
        forms = "; ".join(form.FILES for form in _forms())
        found = place if place.exists() else f"no such file or folder: {place}"
        fix = "give a file or a folder of one of these forms, or train one with `viva tokenizer train`"
        raise Refusal(f"a tokenizer must be one of: {forms}", found, fix)
    if len(found) > 1 and not found[0][0].__name__.endswith(FIRST):
        others = ", ".join(file.name for _, file in found[1:])
        warnings.warn(Notice(f"the tokenizer is read from {found[0][1]}, not from {others} beside it"), stacklevel=4)
    return found[0]
