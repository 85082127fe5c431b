"""Who speaks in a conversation, and one that cannot be read shown as it should be."""

import json
from collections.abc import Callable
from typing import Any

from viva.base.errors import Refusal
from viva.text.rows.fields import corrected
from viva.text.rows.row import Row, strings
from viva.text.talk.conversation import check, texts

# ShareGPT's names of who speaks, and those that others write in their place.
SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "system": "system",
    "observation": "tool",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
CALL = "function_call"  # spoken by the assistant

Message = dict[str, Any]
TALK: list[Message] = [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]


def shown(
    row: Row, talk: Any, field: str | None, accepts: Callable[[list[Message]], Any] = check, beside: str | None = None
) -> str:
    """The row with a conversation that is accepted, where this one is refused for its own sake and another that says
    the same is not. What the field `beside` says is in `talk` too.
    """
    right = _mended(talk)
    if field is None or right == talk:
        return ""
    try:
        accepts(right)
    except Refusal:
        return ""
    given = row.data.get(field)
    if isinstance(given, list) and any(isinstance(turn, dict) and "from" in turn for turn in given):
        right = [_turn(message) for message in right]
    rest = Row({name: held for name, held in row.data.items() if name != beside}, row.where)
    return f": {corrected(rest, field, right)}"


def readable(turns: list) -> list[Message]:
    """Turns of ShareGPT's, those that say something, by role and content, whatever they hold."""
    turns = turns if isinstance(turns, list) else [turns]
    return [_spoken(turn) if isinstance(turn, dict) else {"content": turn} for turn in turns]


def _spoken(turn: dict) -> Message:
    speaker, words = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if speaker == CALL and (calls := _calls(words)):
        return {"role": "assistant", "content": "", "tool_calls": calls}
    return {"role": SPEAKERS.get(str(speaker), speaker), "content": words}


def _calls(words: Any) -> list[dict]:
    """The calls that a JSON text says, none where it says something else."""
    try:
        found = json.loads(words)
    except (TypeError, ValueError, RecursionError):
        return []
    calls = found if isinstance(found, list) else [found]
    return [{"type": "function", "function": call} for call in calls if isinstance(call, dict)]


def _turn(message: Message) -> dict:
    """A message as a turn of ShareGPT's."""
    if calls := [call["function"] for call in message.get("tool_calls") or []]:
        return {"from": CALL, "value": json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)}
    speakers = {role: speaker for speaker, role in reversed(SPEAKERS.items())}
    return {"from": speakers[message["role"]], "value": message["content"]}


def _mended(talk: Any) -> list[Message]:
    """A conversation that says the same, in which the system comes first and once, and the assistant answers."""
    said = [_written(each) for each in (talk if isinstance(talk, list) else [talk] if talk else [])]
    systems = [message for message in said if message.get("role") == "system"]
    made = systems[:1]
    if len(systems) > 1:
        made = [systems[0] | {"content": "\n\n".join(message["content"] for message in systems)}]
    for message in said:
        if message.get("role") == "system":
            continue
        before = made[-1]["role"] if made else None
        role = message.get("role")
        role = role if role in SPEAKERS.values() else "assistant" if before in ("user", "tool") else "user"
        if role == "assistant" and before not in ("user", "tool"):
            made.append({"role": "user", "content": "..."})
        made.append({"role": role} | {key: held for key, held in message.items() if key != "role"})
    roles = {message["role"] for message in made}
    return made + [{"role": role, "content": "..."} for role in ("user", "assistant") if role not in roles]


def _written(message: Any) -> Message:
    """A message whose content is one text: all that it says, where that stands in a form which is not read."""
    given = message if isinstance(message, dict) else {"content": message}
    words = given.get("content")
    if isinstance(words, str):
        return dict(given)
    parts = words if isinstance(words, list) else []
    if parts and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        return given | {"content": "".join(texts(parts))}
    empty = "" if given.get("tool_calls") else "..."
    return given | {"content": "\n".join(strings(words, frozenset({"type"}))) or empty}
