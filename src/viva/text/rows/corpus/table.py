"""Tables as text: csv and tsv files, perhaps gzipped. A line is a row, a column a field."""

import csv
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

from viva.base.errors import Refusal
from viva.text.rows.corpus import files
from viva.text.rows.corpus._places import candidates, empty, passed_over
from viva.text.rows.corpus._separator import separator
from viva.text.rows.row import Corpus, Row, sound

MOST = 2**31 - 1  # characters of a field; Python's own limit is less than a long text has


class Config(Corpus):
    """path: a file that ends in .csv or .tsv, or one of these and .gz, a glob of such, or a folder (all of them that it
    holds, at any depth). `columns` names them from the left; left out, the first line does. In a csv file a field may
    be quoted, in a tsv file a quote is a character.
    """

    path: str
    columns: tuple[str, ...] | None = None

    def rows(self) -> Iterator[Row]:
        return sound(self.each())

    def each(self) -> Iterator[Row | Refusal]:
        """As of any corpus, but a line of another number of fields, or a file, does not stop the next."""
        for file in self.files:
            try:
                yield from self._read(file)
            except Refusal as refusal:
                yield refusal

    def digest(self) -> str:
        """A hash of the columns' names and, of each file, what stands between its fields and its bytes."""
        found = hashlib.sha256(repr(self.columns).encode())
        for file in self.files:
            found.update(separator(file).encode() + hashlib.sha256(file.read_bytes()).digest())
        return found.hexdigest()

    @property
    def files(self) -> list[Path]:
        """The files that are read, sorted by path."""
        tables = [file for file in candidates(self.path) if separator(file)]
        if not tables or (self._others and not Path(self.path).expanduser().is_dir()):
            odd = ", ".join(file.name for file in self._others[:5]) or "no file"
            raise Refusal(f"{self.path} must be .csv or .tsv files", odd, "rename or convert them")
        return tables

    def notes(self) -> list[str]:
        said = [(self._others, "files of {} are no tables"), (empty(self.files), "files of {} are empty")]
        return passed_over(self.path, said)

    @property
    def _others(self) -> list[Path]:
        return [file for file in candidates(self.path) if not separator(file)]

    def _read(self, file: Path) -> Iterator[Row | Refusal]:
        lines = io.StringIO(files.whole(file), newline="")
        quoting = {"quoting": csv.QUOTE_NONE} if separator(file) == "\t" else {}
        csv.field_size_limit(MOST)  # of all readers: it can be set for no single one
        reader = csv.reader(lines, delimiter=separator(file), strict=not quoting, **quoting)
        numbered = (found for found in _numbered(reader, file) if found[1])  # without empty lines
        names = list(self.columns or next(numbered, (0, ()))[1])
        if twice := [name for name in names if name and names.count(name) > 1]:
            must = f"the columns of {file} must have names of their own"
            raise Refusal(must, f"{twice[0]!r} {names.count(twice[0])} times", "rename the others")
        for place, (number, fields) in enumerate(numbered):
            if self.columns and not place and _heads(fields, names):
                fix = "leave data.columns out if the first line names them, or give them names that no row holds"
                raise Refusal(f"{file} must begin with a row where data.columns names the columns", fields, fix)
            if len(fields) != len(names):
                found = f"{len(fields)} for {', '.join(names)}"
                fix = "mend the line, or name the columns in data.columns"
                yield Refusal(f"{file}:{number} must have {len(names)} fields", found, fix)
            else:
                yield Row(dict(zip(names, fields, strict=True)), f"{file}:{number}")


def _numbered(reader: Iterator[list[str]], file: Path) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) of each record of a csv reader."""
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Refusal(f"{file}:{number} must be a line of csv", error, "mend its quotes") from None


def _heads(fields: list[str], names: list[str]) -> bool:
    """Whether a line names columns: one of them in its place, or all in another order."""
    said, known = ([_plain(name) for name in line] for line in (fields, names))
    return sorted(said) == sorted(known) or any(one and one == other for one, other in zip(said, known, strict=False))


def _plain(name: str) -> str:
    """The name of a column, however it is written."""
    return name.strip().lower()
