"""Conversations as ShareGPT wrote them, {"from": "human", "value": ...}: only what the assistant says is learned."""

from typing import ClassVar

from viva.text.rows.fields import Format
from viva.text.rows.format import _talk
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """conversations: where the turns are, by human (or user), gpt (or assistant), system, function_call (of the
    assistant, the JSON of a name and arguments) and observation (or tool). system: a text that comes before them, if a
    row has any; tools: as in messages.
    """

    told_by: ClassVar = (("conversations",),)

    conversations: str = "conversations"
    system: str = "system"
    tools: str = "tools"

    def talks(self) -> bool:
        return True

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        talk = [*_talk.system(row, self.system), *_talk.messages(row, self.conversations, beside=self.system)]
        tools = _talk.tools(row, self.tools)
        return _talk.conversation(row, talk, tokenizer, tools, self.conversations, beside=self.system)
