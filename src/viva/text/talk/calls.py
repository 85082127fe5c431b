"""Calls of tools in what a model writes, read as its chat template writes them (`call_form.py`)."""

from dataclasses import dataclass
from typing import Any

from viva.text.talk.call_form import Form, json_object


@dataclass(frozen=True)
class Call:
    """A tool by its name, and what it is called with."""

    name: str
    arguments: dict[str, Any]


class Reader:
    """A reply that comes piece by piece: what is said passes through, calls are taken out.

    What begins like a call and is none is said after all, at the end. White space before a call, and between two of
    them, belongs to nobody.
    """

    def __init__(self, form: Form):
        self._form, self._held = form, ""
        self._begun = self._called = False

    def push(self, piece: str) -> tuple[str, list[Call]]:
        """Take a piece; what has become certain of text and calls."""
        self._held += piece
        return self._certain(final=False)

    def end(self) -> tuple[str, list[Call]]:
        """What is still held back, when no more comes."""
        return self._certain(final=True)

    def _certain(self, final: bool) -> tuple[str, list[Call]]:
        said, calls = "", []
        while (at := self._mark()) is not None:
            before = self._held[:at].rstrip()
            read = self._calls(self._held[at + len(self._form.mark) :], final)
            if read is None:  # it may still become one or, at the end, never will
                before = self._held if final else before
                said, self._held = said + before, self._held[len(before) :]
                break
            said += before
            calls += read[0]
            self._held, self._called = read[1], True
        else:
            said += self._spoken(final)
        self._begun = self._begun or bool(said)
        return said, calls

    def _mark(self) -> int | None:
        """Where in the text that is held calls begin."""
        mark = self._form.mark
        first = not mark and not self._begun and not self._called and self._held.lstrip().startswith("{")
        at = self._held.find(mark) if mark else self._held.find("{") if first else -1
        return None if at < 0 else at

    def _spoken(self, final: bool) -> str:
        """The text before what may become white space and a mark."""
        mark, held = self._form.mark, self._held
        begun = next((n for n in range(len(mark) - 1, 0, -1) if held.endswith(mark[:n])), 0)
        text = held if final else held[: len(held) - begun].rstrip()
        self._held = held[len(text) :]
        return "" if self._called and text.isspace() else text

    def _calls(self, text: str, final: bool) -> tuple[list[Call], str] | None:
        """The calls behind a mark, and the text behind them; None as long as one of them is not whole."""
        calls, close, text = [], self._form.close, text.lstrip(" \t\r\n[")
        while one := self._one(text):
            calls.append(one[0])
            behind = one[1].lstrip()
            if not behind.startswith(","):
                if behind.startswith(close):
                    return calls, behind[len(close) :]
                return None if close.startswith(behind) and not final else (calls, behind)
            text = behind[1:].lstrip()
        return None

    def _one(self, text: str) -> tuple[Call, str] | None:
        """A call at the beginning of a text, and what is behind it."""
        read = json_object(text, 0) if text.startswith("{") else None
        if read is None:
            return None
        made, end = read
        name, arguments = made.get(self._form.name), made.get(self._form.arguments)
        whole = isinstance(name, str) and isinstance(arguments, dict)
        return (Call(name, arguments), text[end:]) if whole else None
