"""Instructions with an optional input and an answer (Stanford Alpaca), as a conversation."""

from typing import ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, corrected, text
from viva.text.rows.format import _talk
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """instruction, input, output, system, history: the names of the fields, of which a row must have the first and
    `output`. The input follows the instruction after an empty line. `history` is a list of [instruction, answer] that
    came before; those answers are learned too.
    """

    told_by: ClassVar = (("instruction", "output"),)

    instruction: str = "instruction"
    input: str = "input"
    output: str = "output"
    system: str = "system"
    history: str = "history"

    def talks(self) -> bool:
        return True

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft | None:
        talk = [*_talk.system(row, self.system), *self._before(row), *asked(row, self.instruction, self.input)]
        return _talk.conversation(row, [*talk, {"role": "assistant", "content": text(row, self.output)}], tokenizer)

    def _before(self, row: Row) -> list[_talk.Message]:
        found = row.data.get(self.history) or []
        pairs = found if isinstance(found, list) else [found]
        for pair in pairs:
            if not isinstance(pair, list) or [type(words) for words in pair] != [str, str]:
                fix = f"write a list of pairs: {corrected(row, self.history, [['...', '...']])}"
                must = f"{row.where} must have pairs of an instruction and its answer as {self.history!r}"
                raise Refusal(must, repr(pair)[:80], fix)
        roles = ("user", "assistant")
        return [{"role": role, "content": words} for pair in pairs for role, words in zip(roles, pair, strict=True)]


def asked(row: Row, instruction: str, given: str) -> list[_talk.Message]:
    """What an instruction and its input, if there is one, ask."""
    question, more = text(row, instruction), text(row, given, optional=True)
    return [{"role": "user", "content": f"{question}\n\n{more}" if more else question}]
