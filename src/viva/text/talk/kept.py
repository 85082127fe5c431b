"""Whether a template writes all of a conversation: what it would drop without a word is refused.

Each text is replaced by a probe of its own, and the probes are looked for in what the template makes of them. A text
whose probe is not found may have been cut or turned round: then a longer one must change what the template writes.
"""

import json
import warnings
from collections.abc import Callable
from typing import Any

from viva.base.errors import Notice, Refusal
from viva.text.talk.conversation import function, texts

END = "end"
Render = Callable[[list[dict], list[dict] | None], str]


def require_kept(render: Render, messages: list[dict], tools: list[dict] | None) -> None:
    """Refuse where the template leaves out a content, a call or the tools; say where it leaves out reasoning."""
    probed = [_probed(place, message) for place, message in enumerate(messages)]
    try:
        seen = render(probed, _probed_tools(tools))
    except Refusal:
        render(messages, tools)  # refused in the template's words, or it looks at the very texts
        return
    for place, message in enumerate(messages):
        for part, content in enumerate(texts(message.get("content"))):
            found = not content.strip() or _probe("content", place, part) in seen
            if not found and not _matters(render, messages, tools, place):
                raise _lost(f"the content of message {place} ({message['role']})", f"the role {message['role']}")
        for call in range(len(message.get("tool_calls") or [])):
            if _probe("call", place, call) not in seen:
                raise _lost(f"the tool calls of message {place}", "tool calls")
        if message.get("reasoning_content") and _probe("reasoning", place) not in seen:
            warnings.warn(Notice("the chat template leaves out reasoning_content of some turns"), stacklevel=2)
        _require_taken_apart(seen, place, probed[place])
    for place, tool in enumerate(tools or []):
        if _probe("tool", place) not in seen:
            raise _lost(f"the tool {function(tool)['name']!r}", "tools")


def _matters(render: Render, messages: list[dict], tools: list[dict] | None, place: int) -> bool:
    """Whether a longer content of one message changes what the template writes."""
    content = messages[place]["content"]
    longer = f"{content}{END}" if isinstance(content, str) else [*content, {"type": "text", "text": END}]
    changed = [*messages[:place], {**messages[place], "content": longer}, *messages[place + 1 :]]
    return render(messages, tools) != render(changed, tools)


def say_changed(text: str, messages: list[dict]) -> None:
    """Say where a template writes less than what the assistant said, as some do with thoughts of earlier turns."""
    for message in messages:
        if message["role"] == "assistant" and any(said.strip() not in text for said in texts(message.get("content"))):
            warnings.warn(Notice("the chat template writes some of the assistant's turns in part alone"), stacklevel=2)
            return


def _require_taken_apart(text: str, place: int, message: dict) -> None:
    """Refuse where a template writes as Python or as quoted text what it was to take apart."""
    content = message.get("content")
    if isinstance(content, list) and repr(content) in text:
        fix = "give the content as one string"
        raise Refusal(f"the template must know parts to write message {place}", "a list of them", fix)
    for call in message.get("tool_calls") or []:
        arguments = function(call)["arguments"]
        quoted = json.dumps(arguments, ensure_ascii=False)
        if isinstance(arguments, str) and quoted in text:
            must = f"the arguments of message {place}'s call must be an object for this template"
            raise Refusal(must, f"a string, which it writes as {quoted[:40]}", "give the object itself")


def _lost(what: str, kind: str) -> Refusal:
    fix = f"use a template that has a form for {kind}, or leave it out of the conversation"
    return Refusal(f"the chat template must write {what}", "nothing of it in the text", fix)


def _probe(kind: str, place: int, part: int = 0) -> str:
    return f"probe{kind}{place}of{part}{END}"


def _probed(place: int, message: dict) -> dict:
    made: dict[str, Any] = dict(message)
    content = message.get("content")
    if isinstance(content, str) and content.strip():
        made["content"] = _probe("content", place)
    elif isinstance(content, list):
        made["content"] = [{**part, "text": _probe("content", place, at)} for at, part in enumerate(content)]
    if isinstance(message.get("reasoning_content"), str):
        made["reasoning_content"] = _probe("reasoning", place)
    if message.get("tool_calls"):
        made["tool_calls"] = [_named(call, _probe("call", place, at)) for at, call in enumerate(message["tool_calls"])]
    return made


def _probed_tools(tools: list[dict] | None) -> list[dict] | None:
    return tools and [_named(tool, _probe("tool", place)) for place, tool in enumerate(tools)]


def _named(described: dict, name: str) -> dict:
    if "function" in described:
        return {**described, "function": {**described["function"], "name": name}}
    return {**described, "name": name}
