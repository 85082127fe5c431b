"""Documents tokenised once, kept in files that are read in place (memory-mapped), never pickled."""

import json
import math
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np

from viva.base.ahead import ahead
from viva.base.choice import tagged
from viva.base.errors import Notice, Refusal, counted, notices
from viva.base.files import LOCK, disk_space, read_json, sha256, sole_user, sync, write_text
from viva.base.progress import Progress
from viva.text.cache.written import BYTES, CUTS, FILES, IDS, LABELS, LENGTHS, MASK, STATE, TAGS, Written, pack
from viva.text.rows.fields import Format
from viva.text.rows.row import Corpus, Row
from viva.text.rows.split import Part, split
from viva.text.tokens.example import Example
from viva.text.tokens.fingerprint import Fingerprint, digest
from viva.text.tokens.tokenizer import Tokenizer

VERSION = 4  # of the files' layout and of what is written into them
CHUNK_ROWS, CHUNK_CHARACTERS = 1024, 1 << 20  # how much is held in memory while building
TALLIED = 1 << 22  # ids counted at once, for numpy widens them to 8 bytes each
HEADER = "header.json"
NAMELESS = {"frame", "flags", "other_roles", "segments"}  # no part of old names, which runs know; `open` compares them
BEGUN = ".begun"  # ends the name of a cache that is being built
MADE_BY = "tokenizer.json"  # in it the fingerprint


@dataclass(frozen=True)
class Counts:
    """rows: read from the corpus; dropped: left out by filters; elsewhere: of another part of the split; empty:
    without any text; documents: kept. rows = dropped + elsewhere + empty + documents. learned: tokens that the mask
    lets through, the first of a document among them though nothing predicts it."""

    rows: int
    elsewhere: int
    empty: int
    documents: int
    tokens: int
    learned: int
    dropped: int = 0


class Documents:
    """Token ids and loss masks by document.

    docs[i] is (ids [n] of unsigned integers, mask [n] of bool), and docs.tags(i) a class for each token; lengths
    [documents] counts tokens, bytes the UTF-8 bytes of the learned text, cuts the tokens of the first of two texts;
    labels is a class or a value each, NaN where there is none. docs.tail(i): the ids that would stand behind a reply to
    document i, where that is known.
    """

    def __init__(self, folder: Path, header: dict, tail: Callable[[], tuple[int, ...]] = tuple):
        self.folder, self._tail = folder, tail
        self.counts = Counts(**header["counts"])
        self.notes: list[str] = header["notes"]
        self.fingerprint = Fingerprint.model_validate(header["fingerprint"])
        documents, tokens = self.counts.documents, self.counts.tokens
        self.lengths = _mapped(folder / LENGTHS, np.int64, documents)
        self.bytes = _mapped(folder / BYTES, np.int64, documents)
        self.cuts = _mapped(folder / CUTS, np.int64, documents)
        self.labels = _mapped(folder / LABELS, np.float64, documents)
        self._tags = _mapped(folder / TAGS, np.int16, tokens) if TAGS in header["files"] else None
        self._ids = _mapped(folder / IDS, np.dtype(header["dtype"]), tokens)
        self._mask = _mapped(folder / MASK, np.bool_, tokens)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])

    @classmethod
    def open(cls, folder: str | Path, tokenizer: Tokenizer, tail: Callable[[], tuple[int, ...]] = tuple) -> "Documents":
        """The documents in `folder`; refused if they were made with another tokenizer. `tail` tells what a reply has
        behind it.
        """
        folder = Path(folder)
        try:
            header = read_json(folder / HEADER)
        except (OSError, Refusal) as error:
            raise Refusal(f"{folder} must be a token cache", error, "delete it; it is built again") from None
        if header.get("version") != VERSION:
            found = header.get("version")
            raise Refusal(f"{folder} must have version {VERSION}", found, "delete it; it is built again")
        try:
            documents = cls(folder, header, tail)
            hashes = {name: header["files"][name] for name in {*FILES, *header["files"]}}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            fix = f"delete {folder}; it is built again"
            raise Refusal(f"{folder / HEADER} must be as it was written", repr(error), fix) from None
        for name, expected in hashes.items():
            if sha256(folder / name) != expected:
                raise Refusal(f"{folder / name} must be as it was written", "other bytes", f"delete {folder}")
        documents.fingerprint.require(tokenizer.fingerprint, f"the token cache {folder}")
        return documents

    @property
    def name(self) -> str:
        """The key of the cache: a hash of the data, the format, the split and the tokenizer."""
        return self.folder.name

    def __len__(self) -> int:
        return self.counts.documents

    def __getitem__(self, document: int) -> tuple[np.ndarray, np.ndarray]:
        start, end = self._starts[document], self._starts[document + 1]
        return self._ids[start:end], self._mask[start:end]

    def example(self, document: int) -> Example:
        """A document as its format made it, but for the bytes of its learned text, which are counted together."""
        ids, mask = (side.tolist() for side in self[document])
        label = None if math.isnan(self.labels[document]) else float(self.labels[document])
        tags = self.tags(document).tolist() if self.tagged else None
        return Example(ids, mask, 0, int(self.cuts[document]), label, tags)

    def tail(self, document: int) -> tuple[int, ...]:
        """What the chat template sets behind a reply; nothing where texts stand as they are."""
        return self._tail()

    def tally(self, size: int) -> np.ndarray:
        """How often each of the ids below `size` occurs, [size]."""
        parts = (self._ids[at : at + TALLIED] for at in range(0, len(self._ids), TALLIED))
        return sum((np.bincount(part, minlength=size) for part in parts), np.zeros(size, np.int64))

    def tally_classes(self, size: int) -> np.ndarray:
        """How many documents, or where there are tags how many tokens, are of each class below `size`, [size]."""
        found = self.labels if self._tags is None else self._tags
        return np.bincount(found[found >= 0].astype(np.int64), minlength=size)

    @property
    def tagged(self) -> bool:
        """Whether tokens have classes."""
        return self._tags is not None

    def tags(self, document: int) -> np.ndarray:
        """A class for each token of a document, UNTAGGED where it has none."""
        if self._tags is None:
            fix = "use the format `tags`, or `questions` where answers are looked for"
            must = "documents must have tags for a model to learn them"
            raise Refusal(must, "none in the token cache", fix)
        return self._tags[self._starts[document] : self._starts[document + 1]]


def build(
    corpus: Corpus, form: Format, tokenizer: Tokenizer, folder: str | Path, part: Part = "all", valid: float = 0.0
) -> Documents:
    """The documents of one part of a corpus, from the cache in `folder` if the same were made there before.

    Built by all cores, with bounded memory, in a hidden folder that is renamed at the end: a kill leaves nothing half,
    and the next call goes on where the killed one stopped. The bytes do not depend on either.
    """
    made_by = tokenizer.fingerprint.model_dump(mode="json", exclude=NAMELESS)
    if not made_by["added"]:
        del made_by["added"]  # not of old names either
    with Progress("reading the data, to know it by its content"):
        content = corpus.digest()
    place = Path(folder) / digest([VERSION, content, tagged(form), part, valid, made_by])[:24]
    begun = place.with_name(f".{place.name}{BEGUN}")
    if not place.exists():
        _tell_of_others(begun)
        with disk_space(place), sole_user(begun):
            _begin(begun, tokenizer.fingerprint)
            try:
                _write(corpus, form, tokenizer, begun, part, valid)
            except Exception:  # but not a kill, nor Ctrl-C: these can be gone on after
                shutil.rmtree(begun)
                raise
            for file in (LOCK, MADE_BY):
                (begun / file).unlink()
            os.replace(begun, place)
            sync(place.parent)
    return Documents.open(place, tokenizer, cache(partial(form.tail, tokenizer)))


def _begin(folder: Path, fingerprint: Fingerprint) -> None:
    """Note down whose ids a cache is begun with; what another tokenizer began is not gone on with."""
    if (file := folder / MADE_BY).is_file():
        Fingerprint.model_validate(read_json(file)).require(fingerprint, f"the token cache begun in {folder}")
    write_text(file, fingerprint.model_dump_json())


def _write(corpus: Corpus, form: Format, tokenizer: Tokenizer, folder: Path, part: Part, valid: float) -> None:
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
    with Written(folder) as written:
        rows = _Counted(islice(corpus.rows(), written.state.rows, None), written.state.rows)
        taken = _Counted(split(rows, part, valid), written.state.taken)
        work = ahead(lambda chunk: pack(form.examples(chunk.rows, tokenizer), dtype), _chunks(rows, taken))
        said = Counter(written.state.said)
        with Progress("tokenising") as progress, notices(lambda notice: said.update([notice])):
            characters = 0
            for chunk, packed in work:
                written.add(packed, chunk.read, chunk.taken, said)
                characters += chunk.size
                rate = characters / progress.seconds / 1e6
                progress.say(f"{chunk.read:,} rows, {characters / 1e6:,.0f} M characters here, {rate:.1f} M a second")
        written.note()
    state = written.state
    if not state.documents:
        must = f"the {part} part of the data must hold at least one document with text"
        empty = ", all of them empty" if taken.count else ""
        found = f"{rows.count} rows, {taken.count} in this part{empty}"
        fix = "give more rows (`piece` cuts a large text file), or another held-out share `valid`"
        if corpus.dropped:
            found, fix = f"{found}; {'; '.join(corpus.notes())}", f"leave the filter out to see why, or {fix}"
        raise Refusal(must, found, fix)
    elsewhere, empty, dropped = rows.count - taken.count, taken.count - state.documents, corpus.dropped
    counts = Counts(rows.count + dropped, elsewhere, empty, state.documents, state.tokens, state.learned, dropped)
    _finish(folder, dtype, counts, corpus.notes() + counted(state.said), tokenizer.fingerprint)


def _finish(folder: Path, dtype: np.dtype, counts: Counts, notes: list[str], fingerprint: Fingerprint) -> None:
    """Make of the files that were written a cache that `Documents.open` takes."""
    if not (folder / TAGS).stat().st_size:
        (folder / TAGS).unlink()
    header = {
        "version": VERSION,
        "dtype": dtype.name,
        "counts": asdict(counts),
        "notes": notes,
        "fingerprint": fingerprint.model_dump(mode="json"),
        "files": {name: sha256(folder / name) for name in (*FILES, TAGS) if (folder / name).exists()},
    }
    write_text(folder / HEADER, json.dumps(header))
    (folder / STATE).unlink()


def _tell_of_others(begun: Path) -> None:
    """Nothing goes on with a cache that was begun for data that have changed since."""
    for other in sorted(begun.parent.glob(f".*{BEGUN}")):
        if other != begun:
            size = sum(file.stat().st_size for file in other.iterdir()) / 2**20
            warnings.warn(
                Notice(f"{other} is a token cache of other data, begun and not finished ({size:.0f} MiB): delete it"),
                stacklevel=3,
            )


class _Counted:
    """An iterable that knows how many items it gave, and `before` it."""

    def __init__(self, rows: Iterable[Row], before: int):
        self.rows, self.count = rows, before

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            self.count += 1
            yield row


@dataclass(frozen=True)
class _Chunk:
    """Rows that are encoded together, their characters, and the rows read and taken up to the last of them."""

    rows: list[Row]
    size: int
    read: int
    taken: int


def _chunks(read: _Counted, taken: _Counted) -> Iterator[_Chunk]:
    rows, size = [], 0
    for row in taken:
        rows.append(row)
        size += sum(len(value) for value in row.data.values() if isinstance(value, str))
        if len(rows) == CHUNK_ROWS or size >= CHUNK_CHARACTERS:
            yield _Chunk(rows, size, read.count, taken.count)
            rows, size = [], 0
    if rows:
        yield _Chunk(rows, size, read.count, taken.count)


def _mapped(file: Path, dtype: np.dtype, count: int) -> np.ndarray:
    """The file's `count` numbers, read where they lie; a file of another size is refused."""
    size = file.stat().st_size if file.is_file() else 0
    if size != count * np.dtype(dtype).itemsize:
        must = f"{file} must have {count * np.dtype(dtype).itemsize} bytes"
        raise Refusal(must, size, f"delete {file.parent}; it is built again")
    return np.memmap(file, dtype, "r", shape=(count,))
