"""Conversations as text and ids, with an exact mask of what is learned, for any Hugging Face template.

The one renderer: training, evaluation, chat and generation see a conversation through it.
"""

from dataclasses import dataclass

from viva.base.errors import Refusal
from viva.text.talk.conversation import ROLES, check, check_tools
from viva.text.talk.kept import require_kept, say_changed
from viva.text.talk.turns import ASSISTANT, FLAGS, Learned, cut, spans
from viva.text.talk.veil import veil
from viva.text.tokens import template
from viva.text.tokens.example import Draft, encode
from viva.text.tokens.marks import unshield
from viva.text.tokens.template import DEFAULT_TEMPLATE
from viva.text.tokens.tokenizer import Tokenizer

__all__ = ["DEFAULT_TEMPLATE", "ROLES", "Learned", "Rendered", "draft", "has_reasoning", "opened", "render", "tail"]

REASONING = ("reasoning_content", "thinking", "reasoning")  # names of one thing; templates read the first


@dataclass(frozen=True)
class Rendered:
    """A conversation as a model sees it; mask[i] says that token i is learned."""

    text: str
    ids: list[int]
    mask: list[bool]


def render(
    tokenizer: Tokenizer,
    messages: list[dict],
    reply: bool = False,
    tools: list[dict] | None = None,
    learned: Learned = ASSISTANT,
) -> Rendered:
    """Text, ids and loss mask of a conversation; `tools` are JSON schemas of what the assistant may call.

    The ids equal those of transformers' `apply_chat_template` as long as no message holds the string of a special
    token; such a string stays text here. `reply` opens the assistant's next turn: nothing is learned then.
    """
    made = opened(tokenizer, messages, tools) if reply else draft(tokenizer, messages, tools, learned)
    (example,) = encode(tokenizer, [made])
    return Rendered(unshield(made.text), example.ids, example.mask)


def opened(tokenizer: Tokenizer, messages: list[dict], tools: list[dict] | None = None) -> Draft:
    """The conversation up to where the assistant is to speak."""
    talk = _Talk(tokenizer, messages, tools, reply=True)
    return Draft(*talk.veil.marked(cut(talk.whole)[0], []))


def draft(
    tokenizer: Tokenizer,
    messages: list[dict],
    tools: list[dict] | None = None,
    learned: Learned = ASSISTANT,
) -> Draft:
    """The conversation, with the spans of the turns that are learned, their end tokens included (`turns.py`)."""
    talk = _Talk(tokenizer, messages, tools, reply=False)
    say_changed(talk.veil.lifted(talk.whole), messages)
    stops = [word for word, number in tokenizer.specials.items() if number in tokenizer.stops]
    return Draft(*talk.veil.marked(*spans(talk.whole, talk.beginning, messages, learned.of(messages), stops)))


def has_reasoning(tokenizer: Tokenizer) -> bool:
    """Whether the template writes `reasoning_content` of an assistant's turn that ends a conversation."""
    source, thought = tokenizer.template_for(None), "a thought of its own"
    said = _as_templates_see({"role": "assistant", "content": "b", "reasoning_content": thought})
    talk = [{"role": "user", "content": "a"}, said]
    return source is not None and thought in template.render(source, tokenizer.words, talk, False, None)


def tail(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids that the template sets behind the end of the assistant's turn where a conversation ends with it, such as
    ChatML's line break.
    """
    said = render(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    return tuple(said.ids[len(said.mask) - said.mask[::-1].index(True) :])


class _Talk:
    """A conversation that is checked, that its template writes in full, and the veil under which it is rendered."""

    def __init__(self, tokenizer: Tokenizer, messages: list[dict], tools: list[dict] | None, reply: bool):
        check_tools(tools)
        self._words, source = tokenizer.words, tokenizer.template_for(tools)
        if source is None:
            fix = "set one with `viva tokenizer template`, or tune with the format `prompt`"
            raise Refusal("a conversation needs a tokenizer with a chat template", "none", fix)
        check(messages, template.constants(source))
        self._source, seen = source, [_as_templates_see(message) for message in messages]
        require_kept(self._render, seen, tools)
        self.veil, self.whole = veil(lambda said: self._render(*said, reply), (seen, tools), list(tokenizer.specials))

    def beginning(self, turns: int, reply: bool) -> str:
        """The first messages under the veil, with the assistant's next turn opened or not."""
        messages, tools = self.veil.said
        return self._render(messages[:turns], tools, reply)

    def _render(self, messages: list[dict], tools: list[dict] | None, reply: bool = False) -> str:
        return template.render(self._source, self._words, messages, reply, tools)


def _as_templates_see(message: dict) -> dict:
    """As in transformers: a key whose value is null is left out, for a template would print "None", and reasoning has
    every name it goes by. What says whether a message is learned is no template's concern.
    """
    kept = {key: value for key, value in message.items() if value is not None and key not in FLAGS}
    thoughts = next((kept[name] for name in REASONING if name in kept), None)
    if thoughts is not None:
        kept = {"thinking": thoughts, **kept, "reasoning_content": thoughts}
    return kept
