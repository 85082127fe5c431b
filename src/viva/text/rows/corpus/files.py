"""Text, JSON and parquet files: one file, a folder, or a glob. Text and JSON may be gzipped."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from pydantic import Field

from viva.base.errors import Refusal
from viva.text.rows.corpus import _json
from viva.text.rows.corpus._decode import decoded, lines
from viva.text.rows.corpus._places import candidates, empty, passed_over
from viva.text.rows.corpus._separator import separator
from viva.text.rows.row import Corpus, Row, sound

TEXT = (".txt", ".md", ".py")
JSON = (".jsonl", ".json")
ENDINGS = [*TEXT, *JSON, *(ending + ".gz" for ending in (*TEXT, *JSON)), ".parquet"]
SHEETS = (".xlsx", ".xls", ".ods")


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
                found.update(f"{ending(file)} ".encode() + hashlib.file_digest(content, "sha256").digest())
        return found.hexdigest()

    def notes(self) -> list[str]:
        tables = [file for file in self._candidates if separator(file)]
        unknown = [file for file in self._candidates if not ending(file) and not separator(file)]
        said = [(tables, "files of {} are tables, which data.kind=table reads")]
        said += [(unknown, "files of {} have no known ending"), (empty(self.files), "files of {} are empty")]
        return passed_over(self.path, said)

    @cached_property
    def files(self) -> list[Path]:
        """The files that are read, sorted by path."""
        found = [file for file in self._candidates if ending(file)]
        if not found:
            names = ", ".join(file.name for file in self._candidates[:5]) or "no file"
            must = f"{self.path} must hold files that end in {', '.join(ENDINGS)}"
            raise Refusal(must, names, _instead(self._candidates))
        return found

    @cached_property
    def _candidates(self) -> list[Path]:
        return candidates(self.path)


def _instead(files: list[Path]) -> str:
    """What to do with files that are not read here."""
    if any(map(separator, files)):
        return "read the tables among them by data.kind=table"
    if any(file.name.lower().endswith(SHEETS) for file in files):
        return "save each sheet as a .csv file, which data.kind=table reads"
    return "convert or rename them"


def ending(file: Path) -> str | None:
    """By which of ENDINGS a file is read; None where it is not."""
    return next((end for end in ENDINGS if file.name.lower().endswith(end)), None)


def _read(file: Path, piece: int | None) -> Iterator[Row | Refusal]:
    end = ending(file)
    if end == ".parquet":
        yield from _parquet(file)
        return
    try:
        with gzip.open(file) if end.endswith(".gz") else open(file, "rb") as content:
            yield from _json.each(file, content) if ".json" in end else _text(file, content, piece)
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
