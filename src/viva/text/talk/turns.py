"""Which characters of a conversation are learned: whole turns, chosen by role, by message, or the last alone."""

import re
from collections.abc import Callable, Iterator
from typing import Literal

from pydantic import Field

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.text.tokens.marks import CLOSE, OPEN

Span = tuple[int, int]
Beginning = Callable[[int, bool], str]
FLAGS = ("train", "weight")  # fields of a message that say whether it is learned, as other stacks have them


class Learned(Config):
    """roles: whose turns are learned; turns: all of them, or the last alone.

    A message may say for itself, as `weight` 0 or 1 or as `train` true or false, and then the roles do not matter.
    """

    roles: tuple[Literal["assistant", "system", "tool", "user"], ...] = Field(("assistant",), min_length=1)
    turns: Literal["all", "last"] = "all"

    def of(self, messages: list[dict]) -> list[int]:
        """The places of the messages that are learned."""
        said = [_flag(place, message) for place, message in enumerate(messages)]
        usual = [message["role"] in self.roles for message in messages]
        wanted = [place for place, own in enumerate(said) if (usual[place] if own is None else own)]
        return wanted if self.turns == "all" else wanted[-1:]


ASSISTANT = Learned()


def spans(
    whole: str, beginning: Beginning, messages: list[dict], chosen: list[int], stops: list[str]
) -> tuple[str, list[Span]]:
    """The `whole` conversation without its marks, and in it the spans of the `chosen` messages; `beginning` renders the
    first n, and opens a reply if told so.

    A template with {% generation %} blocks says itself where the assistant's turns are, one block each. Others, and
    other roles, follow from the prefix property: the text of the first n messages must begin that of n + 1, and that
    the whole. The assistant's turn begins where it departs from a turn that was opened for it, and ends with the last
    of its `stops`, if it has one; what a template puts after that is never said.
    """
    whole, blocks = cut(whole)
    speakers = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    marked = bool(blocks) and all(place in speakers for place in chosen)
    if marked and chosen == speakers:
        return whole, [span for span in blocks if span[1] > span[0]]
    if marked and len(blocks) != len(speakers):
        must = "to learn some turns a template must write one {% generation %} block for each of the assistant's"
        found = f"{len(blocks)} blocks for {len(speakers)} turns"
        raise Refusal(must, found, "learn all of them, or mend the template")
    if marked:
        return whole, [blocks[speakers.index(place)] for place in chosen]
    return whole, list(_by_prefix(whole, beginning, messages, chosen, stops))


def cut(text: str) -> tuple[str, list[Span]]:
    """Take the OPEN and CLOSE marks out of `text`; the spans between them, in what is left."""
    first, *rest = text.split(OPEN)
    found = []
    for piece in rest:
        inside, _, after = piece.partition(CLOSE)
        found.append((len(first), len(first) + len(inside)))
        first += inside + after
    return first, found


def _by_prefix(
    whole: str, beginning: Beginning, messages: list[dict], chosen: list[int], stops: list[str]
) -> Iterator[Span]:
    for turn in chosen:
        after = whole if turn + 1 == len(messages) else cut(beginning(turn + 1, False))[0]
        before = cut(beginning(turn, messages[turn]["role"] == "assistant"))[0] if turn else ""
        if not after.startswith(before):  # a turn may be opened in another way than it goes on, with no thoughts in it
            _require_prefix(cut(beginning(turn, False))[0], before[: _same(before, after)], turn)
        _require_prefix(after, whole, turn)
        start = _same(before, after)
        yield start, start + _said(after[start:], stops)


def _require_prefix(before: str, after: str, turn: int) -> None:
    """Without it there is no telling which characters the assistant wrote."""
    if not after.startswith(before):
        same = _same(before, after)
        must = f"the chat template must write turn {turn} as a continuation of what stood before it"
        found = f"{after[same : same + 40]!r} where {before[same : same + 40]!r} stood (character {same})"
        raise Refusal(must, found, "put {% generation %} blocks into the template, or split the conversation there")


def _same(one: str, other: str) -> int:
    """How many characters two texts have in common, from their beginning."""
    differing = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differing, min(len(one), len(other)))


def _said(turn: str, stops: list[str]) -> int:
    """How much of a turn is learned: up to its last stop token, or all of it where none ends it.

    A stop token in front of all that is said begins the turn: in many vocabularies one token ends a document and begins
    it. Where nothing is said, that token is the end.
    """
    stop = re.compile("|".join(map(re.escape, stops)) or "(?!)")
    is_empty = not stop.sub("", turn).strip()
    ends = [found.end() for found in stop.finditer(turn) if is_empty or turn[: found.start()].strip()]
    return max(ends, default=len(turn))


def _flag(place: int, message: dict) -> bool | None:
    """What a message says about itself, if it does."""
    said = {name: message[name] for name in FLAGS if message.get(name) is not None}
    for name, value in said.items():
        if value not in (0, 1):
            must = f"{name} of message {place} must be 0 or 1, since a token is learned or not"
            raise Refusal(must, repr(value), "write one of these")
    if len(set(map(bool, said.values()))) > 1:
        raise Refusal(f"train and weight of message {place} must say the same", said, "leave one of them out")
    return next(map(bool, said.values()), None)
