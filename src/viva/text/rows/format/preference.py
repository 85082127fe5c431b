"""Two answers to one prompt, of which the first is preferred (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155,
section 3.5; Bai et al. 2022, https://arxiv.org/abs/2204.05862): for reward models and preference optimisation.
"""

import re
from collections.abc import Iterable
from typing import ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, corrected, text, value
from viva.text.rows.format import _talk
from viva.text.rows.format.alpaca import asked
from viva.text.rows.format.prompt import completed
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft, Example, encode
from viva.text.tokens.tokenizer import Tokenizer

PROMPTS = ("prompt", "conversations", "instruction")
TURN = re.compile(r"\n\n(Human|Assistant): ?")  # in Anthropic's dialogues
ROLES = {"Human": "user", "Assistant": "assistant"}


class Config(Format):
    """chosen, rejected: the fields of the two answers; prompt: that of the prompt, by default `prompt`, `conversations`
    or `instruction`, whichever a row has. Each is a text, a message, or a list of messages in either spelling
    (messages, sharegpt). Without a prompt, as in Anthropic's dialogues "\\n\\nHuman: ...\\n\\nAssistant: ...", it is
    what both begin with. input, system, tools: as in alpaca and messages.

    The chat template lays both out as conversations; with `plain`, texts stand as they are, as in prompt. A document is
    the two whole, the chosen first, cut between them, and of each the answer alone is learned.
    """

    told_by: ClassVar = (
        ("chosen", "rejected"),
        ("prompt", "chosen", "rejected"),
        ("conversations", "chosen", "rejected"),
        ("instruction", "chosen", "rejected"),
    )
    judged: ClassVar = True

    prompt: str | None = None
    chosen: str = "chosen"
    rejected: str = "rejected"
    input: str = "input"
    system: str = "system"
    tools: str = "tools"
    plain: bool = False

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        drafts = [draft for row in rows for draft in self.drafts(row, tokenizer)]
        made = encode(tokenizer, drafts)
        return [_side_by_side(*pair) for pair in zip(made[::2], made[1::2], strict=True)]

    def drafts(self, row: Row, tokenizer: Tokenizer) -> tuple[Draft, Draft]:
        """Both conversations of a row, the chosen first; refused where the answers are equal, or to other prompts."""
        if value(row, self.chosen) == value(row, self.rejected):
            must = f"{row.where} must have two answers that differ in {self.chosen!r} and {self.rejected!r}"
            raise Refusal(must, f"{str(row.data[self.chosen])[:60]!r} twice", "remove the row: it prefers nothing")
        if self.plain:
            return self._completed(row, self.chosen, tokenizer), self._completed(row, self.rejected, tokenizer)
        chosen, rejected = (self._whole(row, side) for side in (self.chosen, self.rejected))
        shared = self._shared(row, chosen, rejected)
        tools = _talk.tools(row, self.tools)
        return (
            _talk.answer(row, chosen, shared, tokenizer, tools, self.chosen),
            _talk.answer(row, rejected, shared, tokenizer, tools, self.rejected),
        )

    def _completed(self, row: Row, side: str, tokenizer: Tokenizer) -> Draft:
        return completed(tokenizer, text(row, self._prompt(row) or PROMPTS[0]), text(row, side))

    def _prompt(self, row: Row) -> str | None:
        """The field of the prompt, if the row has one."""
        return self.prompt or next((name for name in PROMPTS if row.data.get(name) is not None), None)

    def _whole(self, row: Row, side: str) -> list[_talk.Message]:
        """Prompt and answer; an answer that begins with the prompt is whole already."""
        where, found = self._prompt(row), value(row, side)
        if where is None:
            return _dialogue(row, side) if isinstance(found, str) else _talk.messages(row, side)
        before = _talk.system(row, self.system)
        is_text = isinstance(value(row, where), str)
        before += asked(row, where, self.input) if is_text else _talk.said(row, where, "user")
        answer = _talk.said(row, side, "assistant")
        return answer if answer[: len(before)] == before else before + answer

    def _shared(self, row: Row, chosen: list[_talk.Message], rejected: list[_talk.Message]) -> int:
        """How many messages both begin with: the prompt. What follows must be an answer in both."""
        most = min(len(chosen), len(rejected)) - 1
        shared = next((at for at in range(most) if chosen[at] != rejected[at]), most)
        ends = [talk[shared].get("role") if talk[shared:] else None for talk in (chosen, rejected)]
        if ends != ["assistant", "assistant"]:
            must = f"{row.where} must have answers to one prompt in {self.chosen!r} and {self.rejected!r}"
            found = f"turns of {ends[0]} and {ends[1]} where the two part, after {shared} messages"
            raise Refusal(must, found, "let both begin with the same messages, the last of them the user's")
        return shared


def _dialogue(row: Row, side: str) -> list[_talk.Message]:
    """The messages of one of Anthropic's dialogues."""
    first, *rest = TURN.split(text(row, side))
    if first.strip() or not rest:
        fix = f"name its field in format.prompt, or add it: {corrected(row, PROMPTS[0], '...')}"
        must = f"{row.where} must have a prompt, or a dialogue that begins with '\\n\\nHuman:' as {side!r}"
        raise Refusal(must, repr(first[:60]), fix)
    return [{"role": ROLES[who], "content": words} for who, words in zip(rest[::2], rest[1::2], strict=True)]


def _side_by_side(chosen: Example, rejected: Example) -> Example:
    mask = [*chosen.mask, *rejected.mask]
    return Example([*chosen.ids, *rejected.ids], mask, chosen.bytes + rejected.bytes, cut=len(chosen.ids))
