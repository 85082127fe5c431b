"""Where the files of a corpus lie: one file, all in a folder, or those of a glob; and what of these is passed over."""

import os
from collections.abc import Iterator
from glob import glob
from pathlib import Path

from viva.base.errors import Refusal
from viva.base.files import near


def candidates(name: str) -> list[Path]:
    """The files that `name` may mean, sorted: those at any depth of a folder but hidden ones, or as in `found`."""
    path = Path(name).expanduser()
    if path.is_dir():
        return [file for file in sorted(_below(path)) if file.is_file() and not file.name.startswith(".")]
    return found(name)


def found(name: str) -> list[Path]:
    """The file of that name, which must not be empty, or the files that match it as a glob, sorted."""
    path = Path(name).expanduser()
    if path.is_file():
        _require_content(path)
        return [path]
    matches = glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = sorted(Path(match) for match in matches if Path(match).is_file())
    if not files:
        raise Refusal("data must be in an existing file, folder or glob", repr(name), near(path))
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


def empty(files: list[Path]) -> list[Path]:
    """Those of `files` that hold nothing."""
    return [file for file in files if not file.stat().st_size]


def passed_over(name: str, said: list[tuple[list[Path], str]]) -> list[str]:
    """Sentences of files that are passed over, each kind with what is said of it ({} is `name`), and of links in a
    folder, to other folders or to nothing, which are not followed.
    """
    path = Path(name).expanduser()
    inside = sorted(_below(path)) if path.is_dir() else []
    links = [file for file in inside if file.is_symlink() and not file.is_file()]
    told = [*said, (links, "links in {} lead to no file and are not followed")]
    return [f"{len(f)} {what.format(name)}: {', '.join(file.name for file in f[:5])}" for f, what in told if f]
