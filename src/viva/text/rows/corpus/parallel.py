"""Two text files, perhaps gzipped, whose lines belong together: a text and its translation."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from viva.base.errors import Refusal
from viva.text.rows.corpus import _places, files
from viva.text.rows.row import Corpus, Row


class Config(Corpus):
    """source, target: the two files. Line n of the one is a row with line n of the other, as {"source", "target"}."""

    source: str
    target: str

    def rows(self) -> Iterator[Row]:
        sources, targets = self._lines(self.source), self._lines(self.target)
        if len(sources) != len(targets):
            must = f"{self.source} and {self.target} must have the same number of lines"
            raise Refusal(
                must, f"{len(sources)} and {len(targets)}", "give two files of which line n belongs to line n"
            )
        for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
            yield Row({"source": source, "target": target}, f"{self.source}:{number}")

    def digest(self) -> str:
        """A hash of the bytes of the files."""
        found = hashlib.sha256()
        for path in (self.source, self.target):
            found.update(hashlib.sha256(self._file(path).read_bytes()).digest())
        return found.hexdigest()

    def _lines(self, path: str) -> list[str]:
        lines = files.whole(self._file(path)).removesuffix("\n").split("\n")
        return [line.removesuffix("\r") for line in lines]

    def _file(self, path: str) -> Path:
        found = _places.found(path)
        if len(found) != 1:
            names = ", ".join(file.name for file in found[:5])
            raise Refusal(f"{path} must be one file", names, "name the file itself")
        return found[0]
