"""What the formats share whose rows are conversations: messages from what rows hold, and how they become a draft."""

import json
from functools import partial
from typing import Any

from viva.base.errors import Refusal, nearest
from viva.text.rows.fields import corrected, say_empty, text, value
from viva.text.rows.format._dialogue import asked, is_dialogue, turns
from viva.text.rows.format._mend import CALL, SPEAKERS, TALK, Message, readable, shown
from viva.text.rows.row import Row
from viva.text.talk import chat
from viva.text.talk.conversation import texts
from viva.text.talk.turns import ASSISTANT, Learned
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


def messages(row: Row, name: str, such: Any = None, beside: str | None = None) -> list[Message]:
    """The messages in a field: a list, or one alone, of {"role", "content"} or of ShareGPT's {"from", "value"}. What
    else may stand there is shown where it is none, `such` as a text or, by default, the conversation; in a row as it
    should be, this has taken up what the system says in the field `beside`.
    """
    found = value(row, name, such or TALK)
    found = [found] if isinstance(found, dict) else found
    if not isinstance(found, list):
        fix = f"write a list{_shown(row, name, such, beside)}"
        raise Refusal(f"{row.where} must have a list of messages as {name!r}", repr(found)[:80], fix)
    for place, each in enumerate(found):
        if not isinstance(each, dict) or not {"role", "from", "value"} & each.keys():
            must = f"{row.where} must have, as message {place} of {name!r}, one with a role and a content"
            fix = f'write {{"role": "user", "content": "..."}}{_shown(row, name, such, beside)}'
            raise Refusal(must, repr(each)[:80], fix)
    return [_message(row, name, place, each, beside) for place, each in enumerate(found)]


def said(row: Row, name: str, role: str) -> list[Message]:
    """The messages in a field, which may be the words of `role` alone or, of a user, one of Anthropic's dialogues."""
    found = value(row, name)
    if role == "user" and is_dialogue(found):
        return asked(text(row, name))
    if isinstance(found, str):
        return [{"role": role, "content": found}]
    if not isinstance(found, list | dict):
        fix = f"write it as a string, or remove the row: {corrected(row, name, '...')}"
        raise Refusal(f"{row.where} must have text or messages in the field {name!r}", repr(found)[:80], fix)
    return messages(row, name, "...")


def reply(row: Row, name: str, prompt: str) -> list[Message]:
    """The messages of the answer in a field to what another says: after a dialogue, one that goes on with it, or words
    that may begin with the space behind "Assistant:".
    """
    found = value(row, name)
    if not isinstance(found, str) or not is_dialogue(value(row, prompt)):
        return said(row, name, "assistant")
    return turns(found) if is_dialogue(found) else [{"role": "assistant", "content": found.removeprefix(" ")}]


def system(row: Row, name: str) -> list[Message]:
    """The system's message in a field of text, if there is one."""
    words = text(row, name, optional=True)
    return [{"role": "system", "content": words}] if words else []


def tools(row: Row, name: str) -> list[dict] | None:
    """The tools in a field, a list or its JSON, as JSON schemas of functions; None where there are none."""
    found = row.data.get(name)
    if isinstance(found, str):
        found = _json(row, name, found) if found.strip() else None
    if found is None or found == []:
        return None
    if not isinstance(found, list) or not all(isinstance(tool, dict) for tool in found):
        fix = 'write [{"name": "...", "description": "...", "parameters": {...}}]'
        raise Refusal(f"{row.where} must have a list of tools as {name!r}", repr(found)[:80], fix)
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in found]


def conversation(
    row: Row,
    talk: list[Message],
    tokenizer: Tokenizer,
    tools: list[dict] | None = None,
    field: str | None = None,
    learned: Learned = ASSISTANT,
    beside: str | None = None,
    in_field: bool = True,
) -> Draft:
    """The draft of a conversation; what is wrong is said with place and field, and how the row should be where the
    messages stand `in_field`, but for that of the system, which may stand in the field `beside`.
    """
    at = row.where if field is None else f"{row.where}, the field {field!r}"
    drafted = partial(chat.draft, tokenizer, tools=tools, learned=learned)
    show = partial(shown, row, talk, field if in_field else None, drafted, beside)
    try:
        made = drafted(talk)
    except Refusal as refusal:
        raise Refusal(f"{at}: {refusal.must}", refusal.found, refusal.fix + show()) from None
    for place in learned.of(talk):
        if _is_empty(talk[place]):
            say_empty()
    if not made.spans:
        roles = ", ".join(message["role"] for message in talk)
        must = f"{at} must have a turn to learn, of the {' or the '.join(learned.roles)}"
        raise Refusal(
            must, f"the roles {roles}", "add the answer or remove the row" + shown(row, talk, field, drafted, beside)
        )
    return made


def answer(
    row: Row,
    talk: list[Message],
    first: int,
    tokenizer: Tokenizer,
    tools: list[dict] | None,
    field: str,
    in_field: bool = False,
) -> Draft:
    """The draft of a conversation of which the assistant's turns from message `first` on alone are learned."""
    made = conversation(row, talk, tokenizer, tools, field, in_field=in_field)
    answers = any(message["role"] == "assistant" for message in talk[:first])
    before = len(chat.draft(tokenizer, talk[:first], tools).spans) if answers else 0
    return Draft(made.text, made.spans[before:])


def _is_empty(message: Message) -> bool:
    """Whether nobody says or calls anything."""
    return not "".join(texts(message.get("content"))).strip() and not message.get("tool_calls")


def _shown(row: Row, name: str, such: Any, beside: str | None) -> str:
    """The row as it should be, where a message cannot be read: with `such` a text or, by default, the conversation."""
    if such is not None:
        return f": {corrected(row, name, such)}"
    before = [] if beside is None else system(row, beside)
    return shown(row, before + readable(row.data[name]), name, beside=beside)


def _message(row: Row, name: str, place: int, given: dict, beside: str | None) -> Message:
    """One message by its role and content."""
    if "role" not in given:
        return _turn(row, name, place, given, beside)
    parts = given.get("content")
    if isinstance(parts, list) and parts and all(isinstance(part, dict) and "value" in part for part in parts):
        return _joined(row, name, place, given)
    return given


def _turn(row: Row, name: str, place: int, given: dict, beside: str | None) -> Message:
    """A turn of ShareGPT's."""
    speaker, words = given.get("from"), given.get("value")
    at = f"{row.where} must have, in turn {place} of {name!r},"
    if not isinstance(words, str):
        fix = f"write it as a string{_shown(row, name, None, beside)}"
        raise Refusal(f"{at} text as 'value'", repr(words)[:80], fix)
    if speaker == CALL:
        return {"role": "assistant", "content": "", "tool_calls": _calls(row, name, words)}
    if not isinstance(speaker, str) or speaker not in SPEAKERS:
        fix = nearest(str(speaker), [*SPEAKERS, CALL]) + _shown(row, name, None, beside)
        raise Refusal(f"{at} a known speaker as 'from'", repr(speaker)[:80], fix)
    return {"role": SPEAKERS[speaker], "content": words}


def _joined(row: Row, name: str, place: int, given: dict) -> Message:
    """A message whose content is a list of parts {"type", "value"}: texts, thoughts and calls."""
    made = {key: held for key, held in given.items() if key != "content"} | {"content": ""}
    for part in given["content"]:
        if not isinstance(part["value"], str):
            must = f"{row.where} must have, in message {place} of {name!r}, text as 'value' of each part"
            fix = "write it as a string, a call of a tool as the JSON of it, or leave the part out"
            raise Refusal(must, repr(part["value"])[:80], fix)
        if part.get("type") == "text":
            made["content"] += part["value"]
        elif part.get("type") == "reasoning":
            made["reasoning_content"] = made.get("reasoning_content", "") + part["value"]
        elif part.get("type") == "tool_call":
            made["tool_calls"] = [*made.get("tool_calls", []), *_calls(row, name, part["value"])]
        else:
            must = f"{row.where} must have, in message {place} of {name!r}, parts of a known type"
            raise Refusal(
                must, repr(part.get("type")), nearest(str(part.get("type")), ["reasoning", "text", "tool_call"])
            )
    return made


def _calls(row: Row, name: str, words: str) -> list[dict]:
    """The calls of tools that a JSON text says, one or a list."""
    found = _json(row, name, words)
    calls = found if isinstance(found, list) else [found]
    if not calls or not all(isinstance(call, dict) and {"name", "arguments"} <= call.keys() for call in calls):
        fix = 'write {"name": "...", "arguments": {...}}'
        raise Refusal(f"{row.where} must have calls with a name and arguments in {name!r}", repr(words)[:80], fix)
    return [{"type": "function", "function": call} for call in calls]


def _json(row: Row, name: str, words: str) -> Any:
    try:
        return json.loads(words)
    except (ValueError, RecursionError) as error:
        must = f"{row.where} must have valid JSON where {name!r} says tools and calls"
        raise Refusal(must, f"{words[:60]!r} ({error})", "mend it, or remove the row") from None
