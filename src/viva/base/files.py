"""Files that are either whole or absent: written beside their place, flushed to disk, moved in one rename."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from viva.base.errors import Refusal, nearest

LOCK = ".lock"  # in a folder that one process at a time may use
FULL = (errno.ENOSPC, errno.EDQUOT)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_space(target: Path) -> Iterator[None]:
    """Refuse, rather than raise, when the disk is full or nothing can be written there."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        # safetensors raises an exception of its own, with the system's words in its message
        if not (isinstance(error, OSError) or "os error" in str(error)) or _elsewhere(error, target):
            raise
        if getattr(error, "errno", None) not in FULL and "No space left" not in str(error):
            fix = "choose another place, or change what stands in the way"
            raise Refusal(f"{target} must be a place that can be written", error, fix) from error
        free = shutil.disk_usage(_existing(target)).free
        raise Refusal(
            f"the disk must have room to write {target}",
            f"{free / 2**20:.0f} MiB free",
            "free some space or write elsewhere; what was there before is untouched",
        ) from error


def _elsewhere(error: Exception, target: Path) -> bool:
    """Whether the error names a file that is neither above nor beside `target`: one that was to be read, say."""
    if not isinstance(error, OSError) or error.filename is None:
        return False
    named, target = Path(os.fsdecode(error.filename)).absolute(), target.absolute()
    return named not in (target, *target.parents) and target.parent not in named.parents


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write; on success it becomes `path` in one rename, on failure it vanishes."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with disk_space(path):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        with suppress(OSError):  # its folder may be none, or not ours
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, all of it or none."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it becomes `path` in one rename, on failure it vanishes.

    A folder already at `path` is moved aside before the rename and deleted after it, so that at every instant
    a complete folder exists under one of the two names. Where `path` is a link, what it leads to is written.
    """
    path = Path(path).resolve()
    with disk_space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_space(path):
            temporary.mkdir()
            yield temporary
            for file in sorted(temporary.rglob("*")):
                sync(file)
            sync(temporary)
            if path.exists():
                os.replace(path, old)
            try:
                os.replace(temporary, path)
            except OSError:
                if old.exists():
                    os.replace(old, path)
                raise
            sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Refuse where another process is inside this block for the same folder; a killed one holds nothing."""
    try:
        import fcntl
    except ImportError:  # a system without it
        yield
        return
    with disk_space(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "w")  # noqa: SIM115 - held for as long as the block
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fix = "wait until it has ended, or give another `out`"
            raise Refusal(f"{folder} must be used by one run at a time", "another at work in it", fix) from None
        yield


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path, form: type = dict) -> Any:
    """The object in a JSON file, or the `form` that is asked for; anything else, or no file, is refused."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path} must be a file", "none", "fetch or save it again") from None
    except ValueError as error:
        raise Refusal(f"{path} must be valid JSON", error, "fetch or save it again") from None
    if not isinstance(found, form):
        wanted = {dict: "object", list: "array"}[form]
        raise Refusal(f"{path} must hold a JSON {wanted}", type(found).__name__, "fetch or save it again")
    return found


def near(path: Path, folders: bool = False) -> str:
    """What to do about a path where nothing is: take what has the nearest name beside it, of `folders` alone."""
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    names = [place.name for place in beside if place.is_dir() or not folders]
    return f"in {path.parent}, {nearest(path.name, names)}" if names else "correct the path"
