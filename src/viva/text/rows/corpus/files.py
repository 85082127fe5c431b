"""Text, JSON and parquet files: one file, a folder, or a glob. Text and JSON may be gzipped."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import BinaryIO

from pydantic import Field

from viva.base.errors import Refusal, nearest
from viva.text.rows.corpus import _json
from viva.text.rows.corpus._decode import decoded, lines
from viva.text.rows.row import Corpus, Row, sound

TEXT = (".txt", ".md", ".py")
JSON = (".jsonl", ".json")
ENDINGS = [*TEXT, *JSON, *(ending + ".gz" for ending in (*TEXT, *JSON)), ".parquet"]


class Config(Corpus):
    """path: a file, a folder (all of its files with a known ending, at any depth) or a glob.

    A text file is one row {"text": ...}; with `piece`, it is cut at line ends into rows of at least that many
    characters, so that one large file can be split into train and held-out rows. A line of a jsonl file, an object of
    the array that a json file may be, and a row of a parquet file is a row each.
    """

    path: str
    piece: int | None = Field(None, ge=1)

    def rows(self) -> Iterator[Row]:
        return sound(self.each())

    def each(self) -> Iterator[Row | Refusal]:
        """As of any corpus, but a line or a file that cannot be read does not stop the next."""
        for file in self.files:
            try:
                yield from _read(file, self.piece)
            except Refusal as refusal:
                yield refusal

    def digest(self) -> str:
        """A hash of the bytes of the files, which is quicker than one of their rows."""
        found = hashlib.sha256(f"{self.piece} {len(self.files)}".encode())
        for file in self.files:
            with open(file, "rb") as content:
                found.update(f"{_ending(file)} ".encode() + hashlib.file_digest(content, "sha256").digest())
        return found.hexdigest()

    def notes(self) -> list[str]:
        passed = [file.name for file in self._found if not _ending(file)]
        empty = [file.name for file in self.files if not file.stat().st_size]
        links = [file.name for file in self._linked]
        said = [
            (passed, "files of {} have no known ending"),
            (empty, "files of {} are empty"),
            (links, "links in {} lead to no file and are not followed"),
        ]
        return [f"{len(n)} {what.format(self.path)}: {', '.join(n[:5])}" for n, what in said if n]

    @cached_property
    def files(self) -> list[Path]:
        """The files that are read, sorted by path."""
        found = [file for file in self._found if _ending(file)]
        if not found:
            names = ", ".join(file.name for file in self._found[:5]) or "no file"
            raise Refusal(
                f"{self.path} must hold files that end in {', '.join(ENDINGS)}", names, "convert or rename them"
            )
        return found

    @property
    def _linked(self) -> list[Path]:
        """Links inside a folder to other folders, or to nothing."""
        return [file for file in self._inside if file.is_symlink() and not file.is_file()]

    @cached_property
    def _inside(self) -> list[Path]:
        """Everything below the folder that `path` names, sorted; nothing where it names no folder."""
        path = Path(self.path).expanduser()
        return sorted(_below(path)) if path.is_dir() else []

    @cached_property
    def _found(self) -> list[Path]:
        path = Path(self.path).expanduser()
        if path.is_dir():
            return [file for file in self._inside if file.is_file() and not file.name.startswith(".")]
        return found(self.path)


def found(name: str) -> list[Path]:
    """The file of that name, which must not be empty, or the files that match it as a glob, sorted."""
    path = Path(name).expanduser()
    if path.is_file():
        _require_content(path)
        return [path]
    matches = glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = sorted(Path(match) for match in matches if Path(match).is_file())
    if not files:
        raise Refusal("data must be in an existing file, folder or glob", repr(name), _near(path))
    return files


def _below(folder: Path) -> Iterator[Path]:
    """Files and links at any depth; a folder that cannot be read is refused, not passed over."""

    def refuse(error: OSError) -> None:
        raise Refusal(f"{error.filename} must be readable", error.strerror, "change its permissions or leave it out")

    for root, folders, names in os.walk(folder, onerror=refuse):
        yield from (Path(root) / name for name in (*names, *folders))


def _require_content(file: Path) -> None:
    if file.stat().st_size == 0:
        raise Refusal(f"{file} must hold text", "an empty file", "check how it was written, or give another")


def _near(path: Path) -> str:
    beside = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else []
    return f"in {path.parent}, {nearest(path.name, beside)}" if beside else "correct the path"


def _ending(file: Path) -> str | None:
    return next((ending for ending in ENDINGS if file.name.lower().endswith(ending)), None)


def _read(file: Path, piece: int | None) -> Iterator[Row | Refusal]:
    ending = _ending(file)
    if ending == ".parquet":
        yield from _parquet(file)
        return
    try:
        with gzip.open(file) if ending.endswith(".gz") else open(file, "rb") as content:
            yield from _json.each(file, content) if ".json" in ending else _text(file, content, piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Refusal(f"{file} must be whole gzip data", error, "fetch it again") from None


def _text(file: Path, content: BinaryIO, piece: int | None) -> Iterator[Row]:
    if piece is None:
        yield Row({"text": decoded(file, content.read())}, f"{file}:1")
        return
    held, first, size = [], 1, 0
    for number, line in lines(file, content):
        held.append(line)
        size += len(line)
        if size >= piece:
            yield Row({"text": "".join(held)}, f"{file}:{first}")
            held, first, size = [], number + 1, 0
    if held:
        yield Row({"text": "".join(held)}, f"{file}:{first}")


def whole(file: Path) -> str:
    """The text of a file, perhaps gzipped, without a byte order mark."""
    try:
        with gzip.open(file) if file.name.endswith(".gz") else open(file, "rb") as content:
            return decoded(file, content.read())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Refusal(f"{file} must be whole gzip data", error, "fetch it again") from None


def _parquet(file: Path) -> Iterator[Row]:
    import pyarrow  # heavy, and needed for this ending only
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for data in batch.to_pylist():
                number += 1
                yield Row(data, f"{file}:{number}")
    except (pyarrow.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise Refusal(f"{file} must be a whole parquet file", error, "fetch or write it again") from None
