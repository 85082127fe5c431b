"""What is typed or piped in, message by message."""

import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from viva.cli import history

QUOTES = '"""'
COMMAND = re.compile(r"/[a-z]*(?=\s|$)")
HOW = f"A line that ends with \\ goes on in the next, and {QUOTES} stands around a message of many lines."

Line = Callable[[str], str]  # the next line, asked for with a prompt; EOFError where there is none


class Said(NamedTuple):
    """A message, or a command with what stands behind it."""

    text: str
    command: str | None = None


def messages() -> Iterator[Said]:
    """All that is said, up to /exit or the end; Ctrl-C lets go of what is being typed."""
    line = _piped if not sys.stdin.isatty() else _typed()
    while True:
        try:
            said = _said(*_whole(line))
        except EOFError:
            return
        except KeyboardInterrupt:
            if line is _piped:
                raise
            print("\nCtrl-D, or /exit, ends the chat.")
            continue
        if said.command == "/exit":
            return
        if line is not _piped and (said.text or said.command):
            history.add(" ".join(filter(None, (said.command, said.text))))
        yield said


def _said(text: str, quoted: bool) -> Said:
    """Between quotes everything is a message, and so is what begins like a path."""
    found = None if quoted else COMMAND.match(text)
    return Said(text[found.end() :].strip(), found[0]) if found else Said(text)


def _whole(line: Line) -> tuple[str, bool]:
    """The next message, and whether it stood between quotes; the end of all closes what is open."""
    first = line("> ").strip()
    if first.startswith(QUOTES):
        return "\n".join(_quoted(first.removeprefix(QUOTES), line)).strip("\n"), True
    parts = [first]
    while parts[-1].endswith("\\"):
        parts[-1] = parts[-1].removesuffix("\\")
        parts.append(_next(line) or "")
    return "\n".join(parts).strip(), False


def _quoted(part: str | None, line: Line) -> Iterator[str]:
    while part is not None:
        yield part.removesuffix(QUOTES)
        if part.endswith(QUOTES):
            return
        part = _next(line)


def _next(line: Line) -> str | None:
    """A further line of a message; None at the end of all."""
    try:
        return line("... ").rstrip()
    except EOFError:
        return None


def _piped(prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _typed() -> Line:
    """Lines with editing keys, what was typed before under the arrows, and pastes of many lines as one."""
    try:
        import readline
    except ImportError:  # a system without it
        return input
    readline.set_auto_history(False)
    readline.parse_and_bind("set enable-bracketed-paste on")
    history.recall(readline.add_history)
    return input
