"""What a conversation is: a list of messages, each with a role and what it says, in an order that makes sense."""

import json
from typing import Any

from viva.base.errors import Refusal, nearest
from viva.text.tokens.characters import require_whole

ROLES = ["assistant", "system", "tool", "user"]
DEEPEST = 100  # levels of lists and objects: Python's stack, on which they are gone through, has an end
FIX = 'write [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
CALL = '{"type": "function", "function": {"name": "...", "arguments": {...}}}'
TOOL = '{"type": "function", "function": {"name": "...", "description": "...", "parameters": {...}}}'


def check(messages: Any, known: frozenset[str] = frozenset()) -> None:
    """Refuse what is no conversation: no messages, an unknown role, no content, an order that makes no sense.

    `known` are strings of the template: a role is known that is usual or stands there.
    """
    if not isinstance(messages, list | tuple) or not messages:
        raise Refusal("a conversation must be a list of at least one message", repr(messages), FIX)
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise Refusal(f"message {place} must have a role and a content", repr(message), FIX)
        role = message["role"]
        if role not in ROLES and not (isinstance(role, str) and role.isidentifier() and role in known):
            raise Refusal(f"message {place} must have a known role", repr(role), nearest(str(role), ROLES))
        _check_content(place, message)
        _check_calls(place, message)
    _check_order(messages)


def check_tools(tools: Any) -> None:
    """Refuse what is no list of JSON schemas, each with a name."""
    if tools is None:
        return
    if not isinstance(tools, list | tuple):
        raise Refusal("tools must come in a list", repr(tools)[:80], f"write [{TOOL}]")
    for place, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(function(tool).get("name"), str):
            raise Refusal(f"tool {place} must be a JSON schema with a name", repr(tool)[:80], f"write {TOOL}")
        _require_json(f"tool {place}", tool)


def texts(content: Any) -> list[str]:
    """What a message says: its content, or the text of each of its parts."""
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or []]


def function(described: dict) -> dict:
    """The part of a tool or of a call that has the name, which may be wrapped as {"function": ...} or stand alone."""
    inner = described.get("function", described)
    return inner if isinstance(inner, dict) else {}


def _check_content(place: int, message: dict) -> None:
    content, calls = message.get("content"), message.get("tool_calls")
    if content is None and calls and message["role"] == "assistant":
        return
    if isinstance(content, list) and content and all(map(_is_text, content)):
        content = "".join(texts(content))
    if not isinstance(content, str):
        must = f"message {place} must have a string as its content, or a list of parts of text"
        raise Refusal(must, repr(message.get("content"))[:80], FIX)
    require_whole(content, f"the content of message {place}")


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _check_calls(place: int, message: dict) -> None:
    calls = message.get("tool_calls")
    if calls is None:
        return
    if message["role"] != "assistant":
        raise Refusal(f"message {place} must be the assistant's to call tools", message["role"], "give it that role")
    if not isinstance(calls, list) or not all(isinstance(call, dict) and _is_call(function(call)) for call in calls):
        must = f"message {place} must have a list of calls as tool_calls, each with a name and arguments"
        raise Refusal(must, repr(calls)[:80], f"write [{CALL}]")
    _require_json(f"tool_calls of message {place}", calls)


def _is_call(called: dict) -> bool:
    return isinstance(called.get("name"), str) and isinstance(called.get("arguments"), dict | str)


def _require_json(where: str, value: Any) -> None:
    if not _within(value, DEEPEST):
        raise Refusal(f"{where} must be nested {DEEPEST} deep at most", "more", "write it with fewer levels")
    try:
        require_whole(json.dumps(value, ensure_ascii=False), where)
    except (TypeError, ValueError) as error:
        raise Refusal(
            f"{where} must be what JSON can say", error, "write objects, lists, strings and numbers"
        ) from None


def _within(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested no deeper."""
    level = [value]
    for _ in range(depth):
        held = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [inner for each in held for inner in each]
    return not any(isinstance(each, dict | list) for each in level)


def _check_order(messages: list[dict]) -> None:
    """A system message is one and comes first, the assistant answers, a tool's result has its call."""
    roles = [message["role"] for message in messages]
    if roles.count("system") > 1:
        found, fix = f"{roles.count('system')} of them", "make one of them"
        raise Refusal("a system message must be the only one and come first", found, fix)
    if "system" in roles[1:]:
        found = f"it as message {roles.index('system')}"
        raise Refusal("a system message must be the only one and come first", found, "move it to the front")
    spoken = roles[1:] if roles[0] == "system" else roles
    if spoken and spoken[0] == "assistant":
        must = "the assistant must answer a user, so a conversation begins with a system message or a user"
        raise Refusal(must, f"the roles {', '.join(roles)}", "put the question before it, or leave the turn out")
    _check_results(messages)


def _check_results(messages: list[dict]) -> None:
    """Each tool's result follows the assistant's turn that called it, or another result of that turn."""
    calls: list[dict] = []
    for place, message in enumerate(messages):
        if message["role"] != "tool":
            calls = message.get("tool_calls") or []
            continue
        ids = [call["id"] for call in calls if call.get("id") is not None]
        number = message.get("tool_call_id")
        must = f"message {place}, a tool's result, must follow the assistant's call of it"
        if not calls:
            fix = "give the assistant's message before it the call, as tool_calls"
            raise Refusal(must, f"no call before it (roles: {', '.join(m['role'] for m in messages)})", fix)
        if ids and number is not None and number not in ids:
            raise Refusal(must, f"the tool_call_id {number!r}, called were {', '.join(map(repr, ids))}", "mend the id")
