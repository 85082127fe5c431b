"""The Python installation's own text: the standard library's source without its tests, and its help topics."""

import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

from viva.base.errors import Refusal
from viva.text.rows.row import Corpus, Row

SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
TOPICS = "pydoc_data"  # one file with a dictionary of texts, which are taken one by one instead


class Config(Corpus):
    """No fields: which text there is depends on the installation alone. A file is a row, a help topic is a row."""

    def rows(self) -> Iterator[Row]:
        folder = Path(sysconfig.get_path("stdlib"))
        for file in sources(folder):
            yield Row({"text": _source(file)}, f"{file}:1")
        yield from _topics()


def sources(folder: Path) -> list[Path]:
    """The library's files, sorted by their path below `folder`."""
    inside = ((file.relative_to(folder), file) for file in folder.rglob("*.py"))
    kept = [
        (below.parts, file) for below, file in inside if not SKIPPED & set(below.parts) and TOPICS not in below.parts
    ]
    if not kept:
        found = f"no .py file in {folder}"
        fix = "install the standard library's sources (not an embedded Python), or use the corpus `files`"
        raise Refusal("the corpus `python` needs the source of the standard library", found, fix)
    return [file for _, file in sorted(kept)]


def _source(file: Path) -> str:
    """Python source is UTF-8 but for a few old files that declare another encoding in their first lines."""
    with tokenize.open(file) as content:
        return content.read()


def _topics() -> Iterator[Row]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        fix = "install the standard library in full"
        raise Refusal("the corpus `python` needs pydoc_data.topics", error, fix) from None
    for name in sorted(topics):
        yield Row({"text": topics[name]}, f"pydoc_data.topics:{name}")
