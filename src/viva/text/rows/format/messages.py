"""Conversations: what the assistant says is learned, unless told otherwise."""

from typing import ClassVar

from viva.text.rows.fields import Format
from viva.text.rows.format import _talk
from viva.text.rows.row import Row
from viva.text.talk.turns import ASSISTANT, Learned
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """field: where the list of {"role": ..., "content": ...} is; tools: where the tools are that the assistant may
    call, if a row has any, as a list of JSON schemas or its JSON. The tokenizer's chat template lays the conversation
    out.

    learned: whose turns are learned, and which of them; a message may say so itself (`text/talk/turns.py`).
    """

    told_by: ClassVar = (("messages",),)

    field: str = "messages"
    tools: str = "tools"
    learned: Learned = ASSISTANT

    def talks(self) -> bool:
        return True

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        talk, tools = _talk.messages(row, self.field), _talk.tools(row, self.tools)
        return _talk.conversation(row, talk, tokenizer, tools, self.field, self.learned)
