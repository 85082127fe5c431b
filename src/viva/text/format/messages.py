"""Conversations: what the assistant says is learned, unless told otherwise."""

import json
from typing import Any

from viva.base.errors import Refusal
from viva.text import chat
from viva.text.example import Draft
from viva.text.fields import Format, value
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer
from viva.text.turns import ASSISTANT, Learned


class Config(Format):
    """field: where the list of {"role": ..., "content": ...} is, which the tokenizer's chat template lays out; tools:
    where the tools are that the assistant may call, JSON schemas in a list or as text, if a row has any.

    learned: whose turns are learned, and which of them; a message may say so itself (`text/turns.py`).
    """

    field: str = "messages"
    tools: str = "tools"
    learned: Learned = ASSISTANT

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        return conversation(row, value(row, self.field), tokenizer, tools(row, self.tools), self.learned)


def tools(row: Row, field: str) -> list[dict] | None:
    """The tools of a row, which datasets also write as the text of a list; None where there are none."""
    found: Any = row.data.get(field)
    if isinstance(found, str) and found.strip():
        try:
            found = json.loads(found)
        except ValueError as error:
            fix = "write a list of JSON schemas"
            raise Refusal(f"{row.where} must have tools as JSON in the field {field!r}", error, fix) from None
    return found or None


def conversation(
    row: Row,
    messages: list[dict],
    tokenizer: Tokenizer,
    tools: list[dict] | None = None,
    learned: Learned = ASSISTANT,
) -> Draft:
    """The draft of a conversation; what is wrong with it is said with the place of the row."""
    try:
        made = chat.draft(tokenizer, messages, tools, learned)
    except Refusal as refusal:
        raise Refusal(f"{row.where}: {refusal.must}", refusal.found, refusal.fix) from None
    if not made.spans:
        must = f"{row.where} must have a turn to learn, of the {' or the '.join(learned.roles)}"
        roles = ", ".join(message["role"] for message in messages)
        raise Refusal(must, f"the roles {roles}", "add the answer or remove the row")
    return made
