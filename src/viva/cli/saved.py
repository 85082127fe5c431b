"""A conversation in a file of JSON lines, in which it stands once, however often it is saved."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from viva.base.files import disk_space, whole_file


class Saved:
    """The row that a conversation has in each file it was saved to."""

    def __init__(self) -> None:
        self._rows: dict[Path, bytes] = {}

    def put(self, path: Path, messages: list[dict[str, Any]]) -> bool:
        """Write the messages as a row: in the place of this conversation's row, if the file has it still, else behind
        all others. Whether it took a place.
        """
        row, place = json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n", path.resolve()
        before = self._rows.get(place)
        replaced = before is not None and path.is_file() and _replace(place, before, row)
        if not replaced:
            _append(path, row)
        self._rows[place] = row
        return replaced


def _replace(path: Path, before: bytes, row: bytes) -> bool:
    """Whether the file has the row `before`, whose last one is then `row`."""
    with disk_space(path):
        rows = path.read_bytes().splitlines(keepends=True)
    if before not in rows:
        return False
    last = max(number for number, each in enumerate(rows) if each == before)
    with whole_file(path) as temporary:
        temporary.write_bytes(b"".join([*rows[:last], row, *rows[last + 1 :]]))
        shutil.copymode(path, temporary)
    return True


def _append(path: Path, row: bytes) -> None:
    with disk_space(path), open(path, "a+b") as file:
        if file.tell():  # others may have left off in a line
            file.seek(-1, os.SEEK_END)
            file.write(b"" if file.read() == b"\n" else b"\n")
        file.write(row)
