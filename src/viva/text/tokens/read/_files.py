"""The files of a tokenizer, plain or gzipped."""

import gzip
import json
from pathlib import Path
from typing import Any

from viva.base.errors import Refusal

GZIP = b"\x1f\x8b"


def the_file(place: Path, *patterns: str) -> Path | None:
    """`place` itself if its name matches one of the globs, or the one file in that folder whose name does, plain or
    gzipped; None where there is none. Refused where a folder holds several.
    """
    globs = [pattern + end for pattern in patterns for end in ("", ".gz")]
    if place.is_file():
        return place if any(place.match(pattern) for pattern in globs) else None
    found = sorted({file for pattern in globs for file in place.glob(pattern) if file.is_file()})
    if len(found) > 1:
        listed = ", ".join(file.name for file in found)
        raise Refusal(f"{place} must hold one tokenizer {patterns[0]}", listed, "give the path of the file itself")
    return found[0] if found else None


def content(file: Path) -> bytes:
    """The bytes of a file, unpacked."""
    packed = file.read_bytes()
    if not packed.startswith(GZIP):
        return packed
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError) as error:
        raise Refusal(f"{file} must be an intact gzip file", error, "fetch it again") from None


def text(file: Path) -> str:
    """The text of a file; no line of it is broken but at a line feed."""
    try:
        return content(file).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Refusal(f"{file} must be UTF-8", error, "fetch it again") from None


def lines(file: Path) -> list[str]:
    """The lines of a file, without an empty last one."""
    return text(file).removesuffix("\n").split("\n")


def vocabulary(file: Path) -> dict[str, int]:
    """The object of a JSON file, which must give each token its id."""
    try:
        found = json.loads(text(file))
    except ValueError as error:
        raise Refusal(f"{file} must be valid JSON", error, "fetch it again") from None
    if not isinstance(found, dict) or not all(type(number) is int and number >= 0 for number in found.values()):
        raise Refusal(f"{file} must give each token its id", _short(found), "fetch it again")
    return found


def beside(folder: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file of the folder, {} where there is none."""
    file = folder / name
    found = json.loads(text(file)) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def _short(found: object) -> str:
    return repr(found)[:80]
