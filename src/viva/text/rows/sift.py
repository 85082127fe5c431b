"""Rows that filters take out of the data: decided in one pass over all of it, kept in a file, counted and shown."""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from viva.base.choice import tagged
from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.base.files import read_json, write_text
from viva.text.rows.fields import Format
from viva.text.rows.row import Corpus, Row, strings
from viva.text.tokens.fingerprint import digest
from viva.text.tokens.tokenizer import Tokenizer

VERSION = 2  # of what filters decide
SPEAKERS = frozenset({"role", "from"})  # fields that name who speaks, and say nothing themselves
SHOWN = 3  # rows that each filter shows of those it takes out

Judge = Callable[[Row], str | None]


@dataclass(frozen=True)
class Source:
    """Rows that are to be filtered, and how the run reads them: by a format, and with a tokenizer unless that is to be
    learned from the rows that are left.
    """

    corpus: Corpus
    format: Format
    tokenizer: Callable[[], Tokenizer] | None = None


class Filter(Config):
    """The base of each file's Config in `filter/`. `fields`: those whose text is looked at; left out, all texts of a
    row are, however deep, but for the names of who speaks.

    `reads`: whether it looks for rows that the run cannot read; then it acts on rows that are held out, too.
    """

    reads: ClassVar[bool] = False

    fields: tuple[str, ...] | None = Field(None, min_length=1)

    @property
    def refuses(self) -> bool:
        """Whether rows that it finds are a mistake in the data, not to be left out without a word from the user."""
        return False

    def judge(self) -> Judge:
        """A new function that is given the rows in turn, and says why one is to go; None where it may stay."""
        raise NotImplementedError

    def judges(self, sources: Sequence[Source]) -> list[Judge]:
        """One for the rows of each source; by default one for all, so that rows of two are compared."""
        return [self.judge()] * len(sources)

    def digest(self, sources: Sequence[Source]) -> Any:
        """All that its judgement depends on, beside the rows."""
        return tagged(self)

    def of(self, row: Row) -> dict[str, Any]:
        """The fields that it looks at; refused where a row has none of them."""
        if self.fields is None:
            return row.data
        data = {name: row.data[name] for name in self.fields if name in row.data}
        if not data:
            must = f"{row.where} must have a field that the filter {kind(self)} looks at: {', '.join(self.fields)}"
            fix = "name fields of these rows in filter.fields, or leave it out"
            raise Refusal(must, f"the fields {', '.join(map(repr, row.data))}", fix)
        return data

    def text(self, row: Row) -> str:
        """What these fields say."""
        return "\n".join(strings(self.of(row), SPEAKERS))


@dataclass
class Taken:
    """How many rows a filter took out of a corpus, and the first of them."""

    filter: str
    rows: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, row: Row, text: str, why: str) -> None:
        self.rows += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{row.where} {text[:40]!r} ({why})")


@dataclass(frozen=True)
class Kept:
    """The rows of a corpus that no filter took: what a `Corpus` is to who reads it. `gone` are the numbers of the
    others, in order; `read` counts all.
    """

    corpus: Corpus
    gone: array
    taken: list[Taken]
    read: int

    @property
    def dropped(self) -> int:
        return len(self.gone)

    @property
    def label(self) -> str:
        return self.corpus.label

    def rows(self) -> Iterator[Row]:
        gone = iter(self.gone)
        leaving = next(gone, None)
        for number, row in enumerate(self.corpus.rows()):
            if number == leaving:
                leaving = next(gone, None)
            else:
                yield row

    def each(self) -> Iterator[Row]:
        """The same: filters went through all rows, so that each can be read."""
        return self.rows()

    def digest(self) -> str:
        """A hash of the rows that are kept, whatever filters chose them."""
        return hashlib.sha256(self.corpus.digest().encode() + self.gone.tobytes()).hexdigest()

    def notes(self) -> list[str]:
        said = [
            f"{self.label}: {taken.rows:,} of {self.read:,} rows left out by {taken.filter}{_such_as(taken.shown)}"
            for taken in self.taken
        ]
        return self.corpus.notes() + said


def _such_as(shown: list[str]) -> str:
    return f", such as {', '.join(shown)}" if shown else ""


def sift(sources: Sequence[Source], filters: Sequence[Filter], folder: Path) -> list[Kept]:
    """What `filters`, one after the other, leave of each source. They go through all of them in turn as if these were
    one, so that a row of the second may be a duplicate of one in the first.

    What was decided is kept in `folder` for the next time; the memory taken meanwhile is the filters' own.
    """
    key = [VERSION, [each.digest(sources) for each in filters], [source.corpus.digest() for source in sources]]
    place = folder / f"sift-{digest(key)[:24]}.json"
    if not place.is_file():
        kept = _sifted(sources, filters)
        _require_none(kept, filters)
        write_text(place, json.dumps([_written(each) for each in kept]))
    said = read_json(place, list)
    return [_read(source.corpus, each) for source, each in zip(sources, said, strict=True)]


def _sifted(sources: Sequence[Source], filters: Sequence[Filter]) -> list[Kept]:
    judges = [each.judges(sources) for each in filters]
    found = []
    for number, source in enumerate(sources):
        gone, taken, read = array("q"), [Taken(kind(each)) for each in filters], 0
        for row in source.corpus.rows():
            for each, of_each, by in zip(filters, judges, taken, strict=True):
                if (why := of_each[number](row)) is not None:
                    gone.append(read)
                    by.add(row, each.text(row), why)
                    break
            read += 1
        found.append(Kept(source.corpus, gone, taken, read))
    return found


def _require_none(kept: Sequence[Kept], filters: Sequence[Filter]) -> None:
    """Refuse where a filter found what it refuses."""
    for place, each in enumerate(filters):
        found = [found.taken[place] for found in kept]
        count = sum(taken.rows for taken in found)
        if each.refuses and count:
            shown = ", ".join([row for taken in found for row in taken.shown][:SHOWN])
            must = f"no row must be one that the filter {kind(each)} finds"
            fix = "take them out of the data, or set `then: drop` to leave them out"
            raise Refusal(must, f"{count:,} of {sum(k.read for k in kept):,}: {shown}", fix)


def _written(kept: Kept) -> dict[str, Any]:
    return {"gone": kept.gone.tolist(), "taken": [asdict(taken) for taken in kept.taken], "read": kept.read}


def _read(corpus: Corpus, said: dict[str, Any]) -> Kept:
    return Kept(corpus, array("q", said["gone"]), [Taken(**taken) for taken in said["taken"]], said["read"])
