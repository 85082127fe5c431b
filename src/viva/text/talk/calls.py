"""Calls of tools in what a model writes, read as its chat template writes them.

How a template writes a call is seen by letting it write one: what stands before the call is its mark, and the call is a
JSON object that has a name and arguments under two keys.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from viva.base.errors import Refusal
from viva.text.talk.turns import cut
from viva.text.tokens import template
from viva.text.tokens.tokenizer import Tokenizer

NAME, KEY, VALUE = "probe_name", "probe_key", "probe_value"
TOOL = {"type": "function", "function": {"name": NAME, "description": "probe", "parameters": {"type": "object"}}}
ASKED = {"role": "user", "content": "probe"}
CALL = {"id": "probe0000", "type": "function", "function": {"name": NAME, "arguments": {KEY: VALUE}}}


def _no_json(word: str) -> None:
    raise ValueError(word)


_JSON = json.JSONDecoder(parse_constant=_no_json)  # NaN and Infinity are Python's


@dataclass(frozen=True)
class Call:
    """A tool by its name, and what it is called with."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Form:
    """How calls are written: `mark` before the first, "" where a reply that calls begins with the call; an object with
    the tool's `name` and its `arguments` under these keys; `close` behind the last.
    """

    mark: str
    name: str
    arguments: str
    close: str


@lru_cache(maxsize=16)
def form(tokenizer: Tokenizer) -> Form:
    """How the template of a tokenizer writes calls; refused where it writes none, or not as JSON."""
    source = tokenizer.template_for([TOOL])
    turn = "" if source is None else _turn(source, tokenizer)
    for start in range(len(turn)):
        if turn[start] == "{" and (read := _object(turn, start)) and NAME in read[0].values():
            made, end = read
            keys = {"name": NAME, "arguments": {KEY: VALUE}}
            known = {what: key for what, value in keys.items() for key, own in made.items() if own == value}
            if len(known) == len(keys):
                return Form(_mark(turn[:start]), **known, close=_close(turn[end:], tokenizer))
    fix = "leave the tools out, or take a model whose template has them (docs/chat.md)"
    must = "a chat template must write calls of tools as JSON objects, for them to be found"
    raise Refusal(must, repr(turn)[:80] if turn else "none that it writes", fix)


def _turn(source: str, tokenizer: Tokenizer) -> str:
    """What the template writes of an assistant that calls a tool; nothing where it cannot."""
    calls = {"role": "assistant", "tool_calls": [CALL]}
    try:
        opened = _rendered(source, tokenizer, [ASKED], reply=True)
        whole = _rendered(source, tokenizer, [ASKED, calls])
    except Refusal:
        return ""
    return whole[len(opened) :] if whole.startswith(opened) else ""


def _rendered(source: str, tokenizer: Tokenizer, messages: list[dict], reply: bool = False) -> str:
    return cut(template.render(source, tokenizer.words, messages, reply, [TOOL]))[0]


def _object(text: str, start: int) -> tuple[dict, int] | None:
    """The JSON object that begins at `start` and where it ends; None where there is no whole one."""
    try:
        return _JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None


def _mark(before: str) -> str:
    """The first word of the last line before a call: <tool_call>, [TOOL_CALLS]."""
    words = before.rstrip().rpartition("\n")[2].split()
    return words[0] if words else ""


def _close(behind: str, tokenizer: Tokenizer) -> str:
    """What stands between a call and the token that ends the turn: </tool_call>, ]."""
    for word, number in tokenizer.specials.items():
        if number in tokenizer.stops:
            behind = behind.partition(word)[0]
    return behind.strip()


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
        read = _object(text, 0) if text.startswith("{") else None
        if read is None:
            return None
        made, end = read
        name, arguments = made.get(self._form.name), made.get(self._form.arguments)
        whole = isinstance(name, str) and isinstance(arguments, dict)
        return (Call(name, arguments), text[end:]) if whole else None
