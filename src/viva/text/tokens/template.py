"""Chat templates: Jinja2 in a sandbox, with what Hugging Face's templates expect to find there.

A template comes with a downloaded model, so it is foreign code: it runs in Jinja's immutable sandbox.
"""

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from viva.base.errors import Refusal
from viva.text.tokens.marks import CLOSE, OPEN, PRIVATE
from viva.text.tokens.templates import named

DEFAULT_TEMPLATE = named("chatml").source

ORDINARY = (ArithmeticError, AttributeError, LookupError)  # what a template meets in a conversation it is not made for


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`: what a template marks as written by the assistant."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own form

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        around = [nodes.Output([nodes.TemplateData(mark)]) for mark in (OPEN, CLOSE)]
        return nodes.Scope([around[0], *body, around[1]]).set_lineno(line)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False):
    """Jinja's own filter escapes <, > and & for HTML, which a model must not see. Stand-ins of a veil stay."""
    made = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, sort_keys=sort_keys)
    return re.sub(rf"[^\x00-\x7f{PRIVATE}]", lambda found: json.dumps(found[0])[1:-1], made) if ensure_ascii else made


def _world() -> ImmutableSandboxedEnvironment:
    world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    world.filters["tojson"] = _json
    world.globals |= {"raise_exception": _raise, "strftime_now": lambda form: datetime.now().strftime(form)}
    return world


@lru_cache(maxsize=16)
def compiled(source: str) -> Template:
    """The template, ready to render; a syntax error is refused."""
    try:
        return _world().from_string(source)
    except (TemplateError, RecursionError) as error:
        raise Refusal("a chat template must be valid Jinja", error, "mend or remove chat_template") from None


@lru_cache(maxsize=16)
def constants(source: str) -> frozenset[str]:
    """Every string that a template has in its expressions, such as the roles it asks for."""
    compiled(source)  # refused where it is no template
    return frozenset(node.value for node in _world().parse(source).find_all(nodes.Const) if isinstance(node.value, str))


def render(source: str, words: dict[str, str], messages: list[dict], reply: bool = False, tools: Any = None) -> str:
    """The text of a conversation; what the template refuses is refused in its own words."""
    try:
        return compiled(source).render(
            **words, messages=messages, add_generation_prompt=reply, tools=tools, documents=None
        )
    except (TemplateError, TypeError, ValueError, RuntimeError, MemoryError, *ORDINARY) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        must = "a conversation must fit the model's chat template"
        fix = "change the conversation or the template; such rows of data are left out by the filter `unreadable`"
        raise Refusal(must, f"{error} (roles: {roles})", fix) from None


def end_of_turn(source: str, words: dict[str, str], specials: list[str]) -> str | None:
    """The special token that the template writes first after an assistant's words; None if it writes none."""
    talk = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer-probe"}]
    try:
        _, found, rest = render(source, words, talk).partition("answer-probe")
    except Refusal:
        return None  # a template for other conversations, such as one that needs a system message
    first = re.search("|".join(map(re.escape, sorted(specials, key=len, reverse=True))) or "(?!)", rest)
    return first[0] if found and first else None
