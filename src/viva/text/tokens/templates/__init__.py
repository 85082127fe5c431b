"""The chat templates that come with viva, one Jinja file each; a file's name is the name of its template.

The first line of a file, a comment, lists the special tokens that the template writes, some by the roles in which a
tokenizer has them (`eos_token`). What an assistant writes stands in one {% generation %} block for each of its turns.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from viva.base.errors import Refusal, nearest

HEAD = re.compile(r"\{#- tokens:(?P<tokens>.*?) ?-#\}\n")


@dataclass(frozen=True)
class Named:
    """A template's source, the special tokens that a tokenizer must have for it, and the roles it must have them in."""

    source: str
    tokens: tuple[str, ...]
    roles: tuple[str, ...]


def names() -> list[str]:
    """The templates in this folder, sorted."""
    return sorted(
        file.name.removesuffix(".jinja") for file in files(__name__).iterdir() if file.name.endswith(".jinja")
    )


@cache
def named(name: str) -> Named:
    """The template of a name; one that has no file is refused with the nearest and the whole list."""
    if name not in names():
        raise Refusal("a chat template must be one of those that come with viva", repr(name), nearest(name, names()))
    text = (files(__name__) / f"{name}.jinja").read_text(encoding="utf-8")
    needed = HEAD.match(text)["tokens"].split()
    roles = tuple(token for token in needed if token.endswith("_token"))
    return Named(HEAD.sub("", text, count=1), tuple(token for token in needed if token not in roles), roles)
