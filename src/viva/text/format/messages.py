"""Conversations: only what the assistant says is learned."""

from viva.base.errors import Refusal
from viva.text import chat
from viva.text.example import Draft
from viva.text.fields import Format, value
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer


class Config(Format):
    """field: where the list of {"role": ..., "content": ...} is. The tokenizer's chat template lays it out."""

    field: str = "messages"

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        return conversation(row, value(row, self.field), tokenizer)


def conversation(row: Row, messages: list[dict], tokenizer: Tokenizer) -> Draft:
    """The draft of a conversation; what is wrong with it is said with the place of the row."""
    try:
        made = chat.draft(tokenizer, messages)
    except Refusal as refusal:
        raise Refusal(f"{row.where}: {refusal.must}", refusal.found, refusal.fix) from None
    if not made.spans:
        must = f"{row.where} must have an assistant's turn, since nothing else is learned"
        roles = ", ".join(message["role"] for message in messages)
        raise Refusal(must, f"the roles {roles}", "add the answer or remove the row")
    return made
