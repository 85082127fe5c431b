"""Conversations as text and ids, with an exact mask of what the assistant wrote, for any Hugging Face template."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from viva.base.errors import Refusal, nearest
from viva.text import template
from viva.text.example import Draft, encode
from viva.text.marks import CLOSE, OPEN, unshield
from viva.text.template import DEFAULT_TEMPLATE
from viva.text.tokenizer import Tokenizer

__all__ = ["DEFAULT_TEMPLATE", "ROLES", "Rendered", "draft", "render"]

ROLES = ["assistant", "system", "tool", "user"]


@dataclass(frozen=True)
class Rendered:
    """A conversation as a model sees it; mask[i] says that token i was written by the assistant."""

    text: str
    ids: list[int]
    mask: list[bool]


def render(tokenizer: Tokenizer, messages: list[dict], reply: bool = False, tools: Any = None) -> Rendered:
    """Text, ids and loss mask of a conversation.

    The ids equal those of transformers' `apply_chat_template` as long as no message holds the string of a special
    token; such a string stays text here. `reply` opens the assistant's next turn: nothing is learned then.
    """
    made = opened(tokenizer, messages, tools) if reply else draft(tokenizer, messages, tools)
    (example,) = encode(tokenizer, [made])
    return Rendered(unshield(made.text), example.ids, example.mask)


def opened(tokenizer: Tokenizer, messages: list[dict], tools: Any = None) -> Draft:
    """The conversation up to where the assistant is to speak."""
    text = _Talk(tokenizer, messages, tools).text(reply=True)
    return Draft(_cut(text)[0], [])


def draft(tokenizer: Tokenizer, messages: list[dict], tools: Any = None) -> Draft:
    """The conversation, with the spans of the assistant's turns, their end tokens included.

    A template with {% generation %} blocks says itself where they are. For another one they follow from the prefix
    property: the text before turn i, with the turn opened, must begin the text up to turn i, and that the whole.
    """
    talk = _Talk(tokenizer, messages, tools)
    text, spans = _cut(talk.text())
    if not spans and any(message["role"] == "assistant" for message in messages):
        spans = list(_turns(talk, text))
    return Draft(text, spans)


class _Talk:
    """A conversation, checked, with the special-token strings in it shielded."""

    def __init__(self, tokenizer: Tokenizer, messages: list[dict], tools: Any):
        check(messages)
        if tokenizer.template is None:
            fix = "put a chat_template into tokenizer_config.json or tune with the format `prompt`"
            raise Refusal("a conversation needs a tokenizer with a chat template", "none", fix)
        self.tokenizer, self.tools = tokenizer, tools
        # A key whose value is null is left out, as in transformers: a template would print "None".
        kept = [{key: value for key, value in message.items() if value is not None} for message in messages]
        self.messages = [{**_shielded(tokenizer, message), "role": message["role"]} for message in kept]

    def text(self, turns: int | None = None, reply: bool = False) -> str:
        """The first `turns` messages, or all, in the words of the template."""
        tokenizer = self.tokenizer
        return template.render(tokenizer.template, tokenizer.words, self.messages[:turns], reply, self.tools)


def check(messages: Any) -> None:
    """Refuse what is no conversation: no list, an empty one, an unknown role, a content that is not a string."""
    fix = 'write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
    if not isinstance(messages, list) or not messages:
        raise Refusal("a conversation must be a list of at least one message", repr(messages), fix)
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise Refusal(f"message {place} must have a role and a content", repr(message), fix)
        if message["role"] not in ROLES:
            found = repr(message["role"])
            raise Refusal(f"message {place} must have a known role", found, nearest(str(message["role"]), ROLES))
        if not isinstance(message.get("content"), str):
            raise Refusal(f"message {place} must have a string as its content", repr(message.get("content")), fix)


def _shielded(tokenizer: Tokenizer, value: Any) -> Any:
    if isinstance(value, str):
        return tokenizer.shield(value)
    if isinstance(value, dict):
        return {key: _shielded(tokenizer, item) for key, item in value.items()}
    return [_shielded(tokenizer, item) for item in value] if isinstance(value, list) else value


def _cut(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Take the OPEN and CLOSE marks out of `text`; the spans between them, in what is left."""
    first, *rest = text.split(OPEN)
    spans = []
    for piece in rest:
        inside, _, after = piece.partition(CLOSE)
        spans.append((len(first), len(first) + len(inside)))
        first += inside + after
    return first, [(start, end) for start, end in spans if end > start]


def _turns(talk: _Talk, whole: str) -> Iterator[tuple[int, int]]:
    for turn, message in enumerate(talk.messages):
        if message["role"] == "assistant":
            before = _cut(talk.text(turn, reply=True))[0]
            after = whole if turn + 1 == len(talk.messages) else _cut(talk.text(turn + 1))[0]
            _require_prefix(before, after, turn)
            _require_prefix(after, whole, turn)
            yield len(before), len(before) + _learned(talk.tokenizer, after[len(before) :])


def _require_prefix(before: str, after: str, turn: int) -> None:
    """Without it there is no telling which characters the assistant wrote."""
    if not after.startswith(before):
        same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after))
        must = f"the chat template must write turn {turn} as a continuation of what stood before it"
        found = f"{after[same : same + 40]!r} where {before[same : same + 40]!r} stood (character {same})"
        raise Refusal(must, found, "put {% generation %} blocks into the template, or split the conversation there")


def _learned(tokenizer: Tokenizer, turn: str) -> int:
    """How much of a turn is learned: up to its last stop token; what the template puts after that is never said."""
    stops = [word for word, number in tokenizer.specials.items() if number in tokenizer.stops]
    ends = [turn.rfind(word) + len(word) for word in stops if word in turn]
    return max(ends, default=len(turn))
