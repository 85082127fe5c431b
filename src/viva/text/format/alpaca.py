"""Instructions with an optional input and an answer (Stanford Alpaca), as a conversation of two turns."""

from viva.text.example import Draft
from viva.text.fields import Format, text
from viva.text.format.messages import conversation
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer


class Config(Format):
    """Rows with `instruction`, `output` and perhaps `input`, which follows the instruction after an empty line."""

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        question, given = text(row, "instruction"), text(row, "input", optional=True)
        asked = {"role": "user", "content": f"{question}\n\n{given}" if given else question}
        answer = {"role": "assistant", "content": text(row, "output")}
        return conversation(row, [asked, answer], tokenizer)
