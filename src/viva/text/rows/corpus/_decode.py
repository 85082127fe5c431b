"""Bytes of a file as text: UTF-8, or refused with the place of what is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from viva.base.errors import Refusal


def decoded(file: Path, content: bytes, offset: int = 0, line: int = 1) -> str:
    """Bytes as UTF-8, without a byte order mark where the file begins; a fault is told with its place. `content` begins
    `offset` bytes after the start of the file, in its line number `line`.
    """
    try:
        text = content.decode("utf-8")
        return text if offset else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at offset {offset + error.start}"
        other = "UTF-16" if not offset and content[:2] in (b"\xff\xfe", b"\xfe\xff") else "GB18030"
        fix = f"save it as UTF-8, for example `iconv -f {other} -t UTF-8 {file.name}`, or leave the file out"
        if error.reason == "unexpected end of data":
            found, fix = f"{found}, a character that is cut off", "fetch or write it again"
        at = line + content.count(b"\n", 0, error.start)
        raise Refusal(f"{file}:{at} must be UTF-8 text", found, fix) from None


def lines(file: Path, content: BinaryIO) -> Iterator[tuple[int, str]]:
    """(number, line) of each line; they end at \\n only, as JSON strings may hold the other line ends of Unicode."""
    for number, line in each_line(file, content):
        if isinstance(line, Refusal):
            raise line
        yield number, line


def each_line(file: Path, content: BinaryIO) -> Iterator[tuple[int, str | Refusal]]:
    """(number, line) as `lines`, and in the place of a line that is no text why it is none."""
    offset = 0
    for number, line in enumerate(content, start=1):
        try:
            yield number, decoded(file, line, offset, number)
        except Refusal as refusal:
            yield number, refusal
        offset += len(line)
