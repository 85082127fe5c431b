"""The adapters, and other folders, that a command line gives names to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from viva.base.errors import Refusal

Adapters = Annotated[list[str] | None, Parameter(negative="")]


def split(told: str) -> tuple[str | None, str]:
    """The name and the folder of NAME=FOLDER; no name where it is a folder, which may have a = in its own name."""
    name, equals, folder = told.partition("=")
    return (name, folder) if equals and not Path(told).exists() else (None, told)


def by_name(told: Sequence[str]) -> dict[str, str]:
    """Folders by the names that requests ask for them by, of NAME=FOLDER each."""
    found: dict[str, str] = {}
    for each in told:
        name, equals, folder = each.partition("=")
        if not equals or not name or not folder or name in found:
            fix = "write brief=runs/brief"
            raise Refusal("an adapter must be given as NAME=FOLDER, each name once", repr(each), fix)
        found[name] = folder
    return found


def apart(told: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """The FOLDER of an adapter for all that ask for none by its name, if there is one, and those of NAME=FOLDER."""
    plain = [each for each in told if split(each)[0] is None]
    if len(plain) > 1:
        fix = "give the others as NAME=FOLDER, and ask for them by NAME"
        raise Refusal("one adapter at most must be given as FOLDER alone", " and ".join(plain), fix)
    return next(iter(plain), None), by_name([each for each in told if each not in plain])
