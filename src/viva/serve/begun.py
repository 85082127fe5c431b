"""Replies to the rows of a file, kept on disk as they end, so that a killed run goes on where it stopped."""

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from viva.base.errors import Notice, Refusal
from viva.base.files import disk_space, read_json, sole_user, whole_file, write_text

FACTS, REPLIES = "facts.json", "replies.tsv"


class Begun:
    """A file of lines, each the number of a row, a tab, and the row with its reply as JSON. What is cut off at its end
    was being written as the process was killed: it is dropped.
    """

    def __init__(self, file: BinaryIO, out: Path):
        self.out, self._file, self._starts = out, file, {}
        at = 0
        for line in file:
            if (row := _number(line)) is None:
                break
            self._starts[row] = at
            at += len(line)
        file.truncate(at)
        file.seek(at)

    def __contains__(self, row: int) -> bool:
        """Whether the row has its reply."""
        return row in self._starts

    def __len__(self) -> int:
        """How many have."""
        return len(self._starts)

    def add(self, row: int, data: dict[str, Any]) -> None:
        """Keep a row with its reply."""
        with disk_space(self.out):
            start = self._file.tell()
            self._file.write(f"{row}\t{json.dumps(data, ensure_ascii=False)}\n".encode())
            self._file.flush()
            self._starts[row] = start

    def finish(self) -> None:
        """Write the file that was asked for, in the order of the rows, whole or not at all."""
        with whole_file(self.out) as new, open(new, "wb") as target:
            for row in sorted(self._starts):
                self._file.seek(self._starts[row])
                target.write(self._file.readline().partition(b"\t")[2])


def _number(line: bytes) -> int | None:
    """The row that a line is of; None where the line is not whole."""
    number, _, data = line.partition(b"\t")
    try:
        json.loads(data)
        return int(number) if data.endswith(b"\n") else None
    except ValueError:
        return None


def place(out: Path) -> Path:
    """The folder of what is begun, beside the file that is asked for."""
    return out.with_name(f".{out.name}.begun")


@contextmanager
def begun(out: Path, facts: dict[str, Any]) -> Iterator[Begun]:
    """The replies that are there, and room for more; the folder goes where the block ends with none, or with `out`
    written.

    `facts` are what replies follow from. Refused: others than those it was begun with, a file `out` that is whole, and
    two processes at a time.
    """
    here = place(out)
    if out.exists() and not here.exists():
        fix = "take another name, or remove it"
        raise Refusal(f"{out} must be a file that is not there", "one that is whole", fix)
    with disk_space(out), sole_user(here):
        (here / REPLIES).touch()
        with open(here / REPLIES, "r+b") as file:
            kept = Begun(file, out)
            _agree(here, out, facts, anew=not len(kept))
            try:
                yield kept
            except KeyboardInterrupt:
                warnings.warn(Notice(f"{len(kept):,} replies are kept: the same command goes on"), stacklevel=2)
                raise
            finally:
                if out.exists() or not len(kept):
                    shutil.rmtree(here)


def _agree(here: Path, out: Path, facts: dict[str, Any], anew: bool) -> None:
    """Note down what replies follow from; refuse where it is something else than before."""
    if anew:
        write_text(here / FACTS, json.dumps(facts))
        return
    before, now = read_json(here / FACTS), json.loads(json.dumps(facts))
    for name in before | now:
        if before.get(name) != now.get(name):
            found = f"{_short(now.get(name))} instead of {_short(before.get(name))}"
            fix = f"give the same, take another name for the output, or remove {here} to begin anew"
            raise Refusal(f"{out} must be gone on with by the {name} it was begun with", found, fix)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
