"""What is asked, alone: the reply is for the model to find, and for a reward to judge."""

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, ends, text
from viva.text.rows.format import _talk
from viva.text.rows.row import Row
from viva.text.talk import chat
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """prompt: the field of what is asked: a text, a list of messages or one of Anthropic's dialogues, which the chat
    template lays out up to where the assistant is to speak; system: as in alpaca. With `plain` a text stands as it is,
    as in prompt. Nothing of a document is learned.
    """

    prompt: str = "prompt"
    system: str = "system"
    plain: bool = False

    def talks(self) -> bool:
        return not self.plain

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        if self.plain:
            begin, _ = ends(tokenizer)
            return Draft(begin + tokenizer.shield(text(row, self.prompt)), [])
        talk = [*_talk.system(row, self.system), *_talk.said(row, self.prompt, "user")]
        try:
            return chat.opened(tokenizer, talk)
        except Refusal as refusal:
            at = f"{row.where}, the field {self.prompt!r}"
            raise Refusal(f"{at}: {refusal.must}", refusal.found, refusal.fix) from None
