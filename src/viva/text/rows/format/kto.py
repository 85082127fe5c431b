"""Answers that were judged one by one, desirable or not (KTO, Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306,
section 4): label 1 or 0 for the whole.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, corrected, text, value
from viva.text.rows.format import _talk
from viva.text.rows.format.prompt import completed
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft, Example
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """prompt, completion, label: the names of the fields; the label is true or false, or 1 or 0. A row may have
    `messages` in place of the first two, whose last is the answer. tools, plain: as in preference. Only the answer is
    learned.
    """

    told_by: ClassVar = (("prompt", "completion", "label"), ("messages", "label"))
    judged: ClassVar = True

    prompt: str = "prompt"
    completion: str = "completion"
    messages: str = "messages"
    label: str = "label"
    tools: str = "tools"
    plain: bool = False

    def talks(self) -> bool:
        return not self.plain

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        rows = list(rows)
        made = super().examples(rows, tokenizer)
        return [replace(example, label=self._label(row)) for example, row in zip(made, rows, strict=True)]

    def draft(self, row: Row, tokenizer: Tokenizer) -> Draft:
        if self.plain:
            return completed(tokenizer, text(row, self.prompt), text(row, self.completion))
        if is_whole := self.messages in row.data:
            field, talk = self.messages, _talk.messages(row, self.messages)
        else:
            field = self.completion
            talk = _talk.said(row, self.prompt, "user") + _talk.reply(row, self.completion, self.prompt)
        tools = _talk.tools(row, self.tools)
        return _talk.answer(row, talk, len(talk) - 1, tokenizer, tools, field, in_field=is_whole)

    def _label(self, row: Row) -> float:
        found = value(row, self.label, True)
        if found not in (True, False):
            fix = f"write true for a desirable answer, else false: {corrected(row, self.label, True)}"
            raise Refusal(f"{row.where} must have true or false as {self.label!r}", repr(found)[:80], fix)
        return float(found)
