"""Rows of JSON: an object a line, or one array of objects; lines are read as they are needed."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from viva.base.errors import Refusal
from viva.text.rows.corpus._decode import each_line
from viva.text.rows.row import Row

SPACE = " \t\r\n"
LOOKAHEAD = 16  # characters: a fault this near to the end of what was read may be for want of more
TWICE = "leave one of them out, since readers of JSON differ in which they keep"
FIX = 'write one JSON object a line, such as {"text": "..."}, or an array of them in a .json file'


class _Twice(Exception):
    """A key that an object has twice, of which the last alone would be read."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return made


DECODER = json.JSONDecoder(object_pairs_hook=_object)


def each(file: Path, content: BinaryIO) -> Iterator[Row | Refusal]:
    """The objects of a file, each with the line in which it begins, or why a line is none. What begins with [ is an
    array, of which nothing is read behind a fault; its objects have a number too, as all may stand in one line.
    """
    numbered = each_line(file, content)
    for number, line in numbered:
        if isinstance(line, Refusal) or line.strip():
            rest = chain([(number, line)], numbered)
            is_array = isinstance(line, str) and line.lstrip().startswith("[") and ".jsonl" not in file.name
            yield from _array(_Text(file, _texts(rest), number)) if is_array else _lines(file, rest)


def _texts(numbered: Iterable[tuple[int, str | Refusal]]) -> Iterator[tuple[int, str]]:
    for number, line in numbered:
        if isinstance(line, Refusal):
            raise line
        yield number, line


def _lines(file: Path, numbered: Iterable[tuple[int, str | Refusal]]) -> Iterator[Row | Refusal]:
    for number, line in numbered:
        if isinstance(line, Refusal):
            yield line
        elif line.strip():
            yield _parsed(line, f"{file}:{number}")


def _parsed(line: str, where: str) -> Row | Refusal:
    try:
        return _row(DECODER.decode(line), where)
    except _Twice as error:
        return _repeated(where, error)
    except (ValueError, RecursionError) as error:
        return Refusal(f"{where} must be a JSON object", f"{line.strip()[:60]!r} ({error})", FIX)
    except Refusal as refusal:
        return refusal


def _array(text: "_Text") -> Iterator[Row]:
    """The objects of [{...}, {...}]."""
    text.take("[")
    if text.peek() == "]":
        text.take("]")
    else:
        while True:
            where, found = text.item()
            yield _row(found, where)
            if text.take(",]") == "]":
                break
    if text.peek():
        raise text.refusal(text.where, "end with its array", repr(text.held[text.at : text.at + 40]))


def _row(found: Any, where: str) -> Row:
    if not isinstance(found, dict):
        raise Refusal(f"{where} must be a JSON object", f"a {type(found).__name__}", FIX)
    return Row(found, where)


def _repeated(where: str, key: _Twice) -> Refusal:
    return Refusal(f"{where} must have each key of an object once", f"{str(key)!r} twice", TWICE)


class _Text:
    """What of a file was read and is still to be parsed: `held` from the place `at` on, which is in line `line`, behind
    `items` of its array.
    """

    def __init__(self, file: Path, numbered: Iterator[tuple[int, str]], line: int):
        self.file, self.numbered = file, numbered
        self.held, self.at, self.line, self.items = "", 0, line, 0

    @property
    def where(self) -> str:
        """The place up to which it is parsed."""
        return f"{self.file}:{self.line}"

    def peek(self) -> str:
        """The next character that is no space, or "" at the end."""
        while True:
            while self.at < len(self.held) and self.held[self.at] in SPACE:
                self._pass(self.at + 1)
            if self.at < len(self.held) or not self._more(1):
                return self.held[self.at : self.at + 1]

    def take(self, wanted: str) -> str:
        """Pass the next character, which must be one of those `wanted`."""
        found = self.peek()
        if not found or found not in wanted:
            shown = repr(self.held[self.at : self.at + 40]) if found else "the end of the file"
            raise self.refusal(self.where, f"have {' or '.join(map(repr, wanted))} next in its array", shown)
        self._pass(self.at + 1)
        return found

    def item(self) -> tuple[str, Any]:
        """The next item of the array, however many lines it takes, and the place where it begins."""
        self.peek()
        self.items += 1
        where = f"{self.where}, item {self.items}"
        size = 1
        while True:
            try:
                found, end = DECODER.raw_decode(self.held, self.at)
            except _Twice as error:
                raise _repeated(where, error) from None
            except (json.JSONDecodeError, RecursionError) as error:
                size *= 2  # so that a long value is parsed a few times, not once a line
                if _broken(error, self.held) or not self._more(size):
                    raise self._broken_at(error) from None
            else:
                self._pass(end)
                return where, found

    def refusal(self, where: str, must: str, found: str) -> Refusal:
        """What the file must do in a place."""
        fix = "write [{...}, {...}], or one object a line; a file that was cut off is to be fetched again"
        return Refusal(f"{where} must {must}", found, fix)

    def _broken_at(self, error: Exception) -> Refusal:
        """Said where the item breaks, which may be lines behind its beginning."""
        found = str(error)
        if isinstance(error, json.JSONDecodeError):
            self._pass(error.pos)
            found = f"{self.held[self.at : self.at + 60]!r} ({error.msg})"
        return self.refusal(f"{self.where}, item {self.items}", "be valid JSON", found)

    def _pass(self, place: int) -> None:
        self.line += self.held.count("\n", self.at, place)
        self.at = place

    def _more(self, count: int) -> bool:
        """Read `count` lines more; what is parsed already is let go."""
        new = [line for _, (_, line) in zip(range(count), self.numbered, strict=False)]
        self.held, self.at = self.held[self.at :] + "".join(new), 0
        return bool(new)


def _broken(error: Exception, held: str) -> bool:
    """Whether the fault is one that no further text would mend."""
    if isinstance(error, RecursionError):
        return True
    return not error.msg.startswith("Unterminated") and len(held) - error.pos > LOOKAHEAD
