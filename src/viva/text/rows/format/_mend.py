"""Who speaks in a conversation, and one that cannot be read shown as it should be."""

from typing import Any

from viva.text.rows.fields import corrected
from viva.text.rows.row import Row

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


def shown(row: Row, talk: Any, field: str | None) -> str:
    """The row with a conversation that can be read, where this one cannot be for its own sake."""
    right = _mended(talk)
    if field is None or right == talk:
        return ""
    given = row.data.get(field)
    if isinstance(given, list) and any(isinstance(turn, dict) and "from" in turn for turn in given):
        speakers = {role: speaker for speaker, role in reversed(SPEAKERS.items())}
        right = [{"from": speakers[message["role"]], "value": message["content"]} for message in right]
    return f": {corrected(row, field, right)}"


def readable(turns: list) -> list[Message]:
    """Turns of ShareGPT's, those that are some, by role and content, whatever they hold."""
    turns = [turn for turn in (turns if isinstance(turns, list) else [turns]) if isinstance(turn, dict)]
    said = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in turns]
    return [{"role": SPEAKERS.get(str(speaker), speaker), "content": words} for speaker, words in said]


def _mended(talk: Any) -> list[Message]:
    """A conversation like this one in which the system comes first and once, and user and assistant take turns."""
    known = [dict(message) for message in talk if isinstance(message, dict)] if isinstance(talk, list) else []
    made: list[Message] = []
    for message in known:
        before = made[-1]["role"] if made else None
        role = message.get("role")
        role = role if role in SPEAKERS.values() else "assistant" if before in ("user", "tool") else "user"
        words = message.get("content")
        message |= {"role": role, "content": words if isinstance(words, str) else "..."}
        if role == "system" and made:
            continue
        if role == "assistant" and before not in ("user", "tool"):
            made.append({"role": "user", "content": "..."})
        made.append(message)
    if not any(message["role"] == "user" for message in made):
        made.append({"role": "user", "content": "..."})
    if not any(message["role"] == "assistant" for message in made):
        made.append({"role": "assistant", "content": "..."})
    return made
