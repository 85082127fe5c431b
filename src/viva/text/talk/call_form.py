"""How a chat template writes calls of tools, seen by letting it write some.

What stands before a call is its mark, and the call is a JSON object that has a name and arguments under two keys.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from viva.base.errors import Refusal
from viva.text.talk.turns import cut
from viva.text.tokens import template
from viva.text.tokens.tokenizer import Tokenizer

NAME, ID, ARGUMENTS = "probe_name", "probe0000", {"probe_key": "probe_value"}
TOOL = {"type": "function", "function": {"name": NAME, "description": "probe", "parameters": {"type": "object"}}}
ASKED = {"role": "user", "content": "probe"}
CALL = {"id": ID, "type": "function", "function": {"name": NAME, "arguments": ARGUMENTS}}


def _no_json(word: str) -> None:
    raise ValueError(word)


_JSON = json.JSONDecoder(parse_constant=_no_json)  # NaN and Infinity are Python's


class Hole(Enum):
    """A place in a call: the tool's name, its arguments as JSON, an id of nine letters and digits."""

    NAME = "name"
    ARGUMENTS = "arguments"
    ID = "id"


@dataclass(frozen=True)
class Written:
    """What a template writes itself of a turn that calls: `begin`, the calls with `between` two, None where a turn has
    one alone, and `end`. A `call` is pieces of text around what differs from call to call.
    """

    begin: str
    call: tuple[str | Hole, ...]
    between: str | None
    end: str


@dataclass(frozen=True)
class Form:
    """How calls are written: `mark` before the first, "" where a reply that calls begins with the call; an object with
    the tool's `name` and its `arguments` under these keys; `close` behind the last; and all as the template writes it.
    """

    mark: str
    name: str
    arguments: str
    close: str
    written: Written


@dataclass(frozen=True)
class _Found:
    """A call in a text, from `start` to `end`, with the `keys` of its name and arguments."""

    start: int
    end: int
    keys: dict[str, str]


@lru_cache(maxsize=16)
def form(tokenizer: Tokenizer) -> Form:
    """How the template of a tokenizer writes calls; refused where it writes none, or not as JSON."""
    turn = _turn(tokenizer, 1)
    found = next(_found(turn), None)
    if found is None:
        fix = "leave the tools out, or take a model whose template has them (docs/chat.md)"
        must = "a chat template must write calls of tools as JSON objects, for them to be found"
        raise Refusal(must, repr(turn)[:80] if turn else "none that it writes", fix)
    before, call, end = turn[: found.start], turn[found.start : found.end], _behind(turn[found.end :], tokenizer)
    mark = _mark(before)
    begin = before[before.rindex(mark) :] if mark else ""
    return Form(mark, **found.keys, close=end.strip(), written=Written(begin, _pieces(call), _between(tokenizer), end))


def _found(turn: str) -> Iterator[_Found]:
    """The calls in what a template wrote."""
    end, wanted = 0, {"name": NAME, "arguments": ARGUMENTS}
    for start in range(len(turn)):
        if start >= end and turn[start] == "{" and (read := json_object(turn, start)):
            keys = {what: key for what, value in wanted.items() for key, own in read[0].items() if own == value}
            if len(keys) == len(wanted):
                end = read[1]
                yield _Found(start, end, keys)


def _between(tokenizer: Tokenizer) -> str | None:
    """What the template writes between two calls, if it writes two."""
    turn = _turn(tokenizer, 2)
    found = list(_found(turn))
    return turn[found[0].end : found[1].start] if len(found) == 2 else None


def _pieces(call: str) -> tuple[str | Hole, ...]:
    """A call of the probe, cut where another differs."""
    objects = ((start, json_object(call, start)) for start in range(1, len(call)) if call[start] == "{")
    arguments = next(call[start : read[1]] for start, read in objects if read and read[0] == ARGUMENTS)
    holes = {arguments: Hole.ARGUMENTS, NAME: Hole.NAME, ID: Hole.ID}
    pieces = re.split(f"({'|'.join(map(re.escape, holes))})", call)
    return tuple(holes.get(piece, piece) for piece in pieces if piece)


def _turn(tokenizer: Tokenizer, count: int) -> str:
    """What the template writes of an assistant that calls a tool, or several; nothing where it cannot."""
    source = tokenizer.template_for([TOOL])
    if source is None:
        return ""
    calls = {"role": "assistant", "tool_calls": [CALL] * count}
    try:
        opened = _rendered(source, tokenizer, [ASKED], reply=True)
        whole = _rendered(source, tokenizer, [ASKED, calls])
    except Refusal:
        return ""
    return whole[len(opened) :] if whole.startswith(opened) else ""


def _rendered(source: str, tokenizer: Tokenizer, messages: list[dict], reply: bool = False) -> str:
    return cut(template.render(source, tokenizer.words, messages, reply, [TOOL]))[0]


def _mark(before: str) -> str:
    """The first word of the last line before a call: <tool_call>, [TOOL_CALLS]."""
    words = before.rstrip().rpartition("\n")[2].split()
    return words[0] if words else ""


def _behind(text: str, tokenizer: Tokenizer) -> str:
    """What stands between a call and the token that ends the turn: </tool_call>, ]."""
    for word, number in tokenizer.specials.items():
        if number in tokenizer.stops:
            text = text.partition(word)[0]
    return text.rstrip()


def json_object(text: str, start: int) -> tuple[dict, int] | None:
    """The JSON object that begins at `start` and where it ends; None where there is no whole one."""
    try:
        return _JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
