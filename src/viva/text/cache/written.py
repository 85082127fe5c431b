"""The files of a token cache while it is built: they only grow, and a killed build goes on where it stopped."""

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from viva.base.files import read_json, sync, write_text
from viva.text.tokens.example import Example

IDS, MASK, TAGS = "ids.bin", "mask.bin", "tags.bin"
LENGTHS, BYTES, CUTS, LABELS = "lengths.bin", "bytes.bin", "cuts.bin", "labels.bin"
FILES = (IDS, MASK, LENGTHS, BYTES, CUTS, LABELS)  # and, where tokens have them, tags
STATE = "state.json"
EVERY_S = 10.0  # between two times that what was written is flushed to the disk and noted down


@dataclass(frozen=True)
class Packed:
    """What some examples add to each file."""

    files: dict[str, np.ndarray]
    documents: int
    tokens: int
    learned: int


def pack(examples: Iterable[Example | None], dtype: np.dtype) -> Packed:
    """The examples that there are, end to end, with ids as `dtype`."""
    kept = [example for example in examples if example is not None]
    tags = [np.array(example.tags, np.int16) for example in kept if example.tags is not None]
    files = {
        IDS: _joined([np.array(example.ids, dtype) for example in kept], dtype),
        MASK: _joined([np.array(example.mask, np.bool_) for example in kept], np.bool_),
        TAGS: _joined(tags, np.int16),
        LENGTHS: np.array([len(example.ids) for example in kept], np.int64),
        BYTES: np.array([example.bytes for example in kept], np.int64),
        CUTS: np.array([example.cut for example in kept], np.int64),
        LABELS: np.array([np.nan if example.label is None else example.label for example in kept], np.float64),
    }
    return Packed(files, len(kept), len(files[IDS]), int(files[MASK].sum()))


def _joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


@dataclass(frozen=True)
class State:
    """How far a build has come: rows read, those of them in its part, what was made of them, bytes of each file; what
    was `said` of rows and how often, at least up to there.
    """

    rows: int = 0
    taken: int = 0
    documents: int = 0
    tokens: int = 0
    learned: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)


class Written:
    """The files in `folder`, open at the place where the last note says that they are whole."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.state = State(**read_json(folder / STATE)) if (folder / STATE).exists() else State()
        self.noted = time.monotonic()
        self.files = {}
        for name in (*FILES, TAGS):
            (folder / name).touch()
            os.truncate(folder / name, self.state.sizes.get(name, 0))
            self.files[name] = open(folder / name, "ab")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *_) -> None:
        for file in self.files.values():
            file.close()

    def add(self, packed: Packed, rows: int, taken: int, said: Mapping[str, int]) -> None:
        """Take what was made of the rows up to number `rows`."""
        for name, content in packed.files.items():
            self.files[name].write(content.data)
        self.state = replace(
            self.state,
            rows=rows,
            taken=taken,
            documents=self.state.documents + packed.documents,
            tokens=self.state.tokens + packed.tokens,
            learned=self.state.learned + packed.learned,
            said=dict(said),
        )
        if time.monotonic() - self.noted >= EVERY_S:
            self.note()

    def note(self) -> None:
        """Flush the files, then write down that they are whole so far."""
        for name, file in self.files.items():
            file.flush()
            sync(self.folder / name)
        self.state = replace(self.state, sizes={name: file.tell() for name, file in self.files.items()})
        write_text(self.folder / STATE, json.dumps(asdict(self.state)))
        self.noted = time.monotonic()
