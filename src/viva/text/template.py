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
from viva.text.marks import CLOSE, OPEN

# ChatML, the form that OpenAI published for GPT-3.5 and Qwen made common; what makes no sense is refused.
DEFAULT_TEMPLATE = """\
{%- for message in messages %}
    {%- if message.role == 'system' and not loop.first %}
        {{- raise_exception('the system message must be the only one and come first') }}
    {%- endif %}
    {%- if message.role == 'assistant' and (loop.first or loop.previtem.role not in ['user', 'tool']) %}
        {{- raise_exception('the assistant must answer a user') }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


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
    """Jinja's own filter escapes <, > and & for HTML, which a model must not see."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


ORDINARY = (ArithmeticError, AttributeError, LookupError)  # what a template meets in a conversation it is not made for


@lru_cache(maxsize=16)
def compiled(source: str) -> Template:
    """The template, ready to render; a syntax error is refused."""
    world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    world.filters["tojson"] = _json
    world.globals |= {"raise_exception": _raise, "strftime_now": lambda form: datetime.now().strftime(form)}
    try:
        return world.from_string(source)
    except (TemplateError, RecursionError) as error:
        raise Refusal("a chat template must be valid Jinja", error, "mend or remove chat_template") from None


def render(source: str, words: dict[str, str], messages: list[dict], reply: bool = False, tools: Any = None) -> str:
    """The text of a conversation; what the template refuses is refused in its own words."""
    try:
        return compiled(source).render(
            **words, messages=messages, add_generation_prompt=reply, tools=tools, documents=None
        )
    except (TemplateError, TypeError, ValueError, RuntimeError, MemoryError, *ORDINARY) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        must = "a conversation must fit the model's chat template"
        raise Refusal(must, f"{error} (roles: {roles})", "change the conversation or the template") from None


def end_of_turn(source: str, words: dict[str, str], specials: list[str]) -> str | None:
    """The special token that the template writes first after an assistant's words; None if it writes none."""
    talk = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer-probe"}]
    try:
        _, found, rest = render(source, words, talk).partition("answer-probe")
    except Refusal:
        return None  # a template for other conversations, such as one that needs a system message
    first = re.search("|".join(map(re.escape, sorted(specials, key=len, reverse=True))) or "(?!)", rest)
    return first[0] if found and first else None
