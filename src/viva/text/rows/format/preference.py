"""Two answers to one prompt, of which the first is preferred (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155,
section 3.5; Bai et al. 2022, https://arxiv.org/abs/2204.05862): for reward models and preference optimisation.
"""

import warnings
from collections.abc import Iterable, Iterator
from itertools import count
from typing import ClassVar

from pydantic import PositiveInt

from viva.base.errors import Notice, Refusal, notices
from viva.text.rows.fields import Format, corrected, number, one_answer, require_two_answers, text, value
from viva.text.rows.format import _talk
from viva.text.rows.format._dialogue import TURN, is_dialogue, later, parted, turns
from viva.text.rows.format.alpaca import asked
from viva.text.rows.format.prompt import completed
from viva.text.rows.row import Row
from viva.text.tokens.example import Draft, Example, encode
from viva.text.tokens.tokenizer import Tokenizer

PROMPTS = ("prompt", "conversations", "instruction")
FORGOTTEN = "a pair is longer than format.within: the oldest turns of its prompt are left out"
Both = tuple[Example, Example]


class Config(Format):
    """chosen, rejected: the fields of the two answers; prompt: that of the prompt, by default `prompt`, `conversations`
    or `instruction`, whichever a row has. Each is a text, a message, a list of messages in either spelling (messages,
    sharegpt) or one of Anthropic's dialogues, "\\n\\nHuman: ...\\n\\nAssistant: ...". Without a prompt, both begin with
    it. input, system, tools: as in alpaca and messages. degree: the field of a number that says how much the chosen one
    is preferred, where an objective asks for it.

    The chat template lays both out as conversations; with `plain`, texts stand as they are, as in prompt, and dialogues
    are asked up to where the two part. A document is the two whole, the chosen first, cut between them, and of each the
    answer alone is learned.

    within: where one of the two has more tokens, both lose as many of the oldest turns of the prompt as lets them fit,
    but never the user's last; what does not fit then is as long as ever.
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
    degree: str | None = None
    within: PositiveInt | None = None

    def talks(self) -> bool:
        return not self.plain

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        rows = list(rows)
        made = encode(tokenizer, [draft for row in rows for draft in self.drafts(row, tokenizer)])
        pairs = list(zip(zip(made[::2], made[1::2], strict=True), rows, strict=True))
        for both, row in pairs:
            self._require_apart(both, row)
        return [_side_by_side(*self._fitting(both, row, tokenizer), self._degree(row)) for both, row in pairs]

    def _fitting(self, whole: Both, row: Row, tokenizer: Tokenizer) -> Both:
        """Both sides without as few of the prompt's oldest turns as lets them fit; as they are where that cannot be."""
        if self._fits(whole):
            return whole
        with notices(lambda said: None):  # what the whole has said already
            shorter = (tuple(encode(tokenizer, list(drafts))) for drafts in self._shorter(row, tokenizer))
            found = next(filter(self._fits, shorter), None)
        if found is None:
            return whole
        warnings.warn(Notice(FORGOTTEN), stacklevel=3)
        return found

    def _fits(self, both: Both) -> bool:
        return self.within is None or max(len(side.ids) for side in both) <= self.within

    def _shorter(self, row: Row, tokenizer: Tokenizer) -> Iterator[tuple[Draft, Draft]]:
        """The drafts of a row that begins with its user's second turn, its third, and so on, up to the last one."""
        last = None
        for without in count(1):
            drafts = self.drafts(row, tokenizer, without)
            if drafts == last:
                return
            yield drafts
            last = drafts

    def _degree(self, row: Row) -> float | None:
        return None if self.degree is None else number(row, self.degree)

    def drafts(self, row: Row, tokenizer: Tokenizer, without: int = 0) -> tuple[Draft, Draft]:
        """Both conversations of a row, the chosen first, `without` so many of the user's turns, the oldest, and what
        goes with them; refused where the fields of the answers are equal, or these are to other prompts.
        """
        require_two_answers(row, self.chosen, self.rejected)
        if self.plain:
            return self._completed(row, tokenizer, without)
        chosen, rejected = (self._whole(row, side) for side in (self.chosen, self.rejected))
        shared = self._shared(row, chosen, rejected)
        if without:
            prompt = _later(chosen[:shared], without)
            chosen, rejected, shared = prompt + chosen[shared:], prompt + rejected[shared:], len(prompt)
        tools = _talk.tools(row, self.tools)
        return (
            _talk.answer(row, chosen, shared, tokenizer, tools, self.chosen),
            _talk.answer(row, rejected, shared, tokenizer, tools, self.rejected),
        )

    def _require_apart(self, both: Both, row: Row) -> None:
        """Refuse answers that a template which trims, or another spelling of messages, makes the same."""
        chosen, rejected = both
        if chosen.ids == rejected.ids:
            texts = (f"{str(row.data[side])[:60]!r}" for side in (self.chosen, self.rejected))
            found = f"{' and '.join(texts)}, which are the same tokens"
            raise one_answer(row, self.chosen, self.rejected, found)

    def _completed(self, row: Row, tokenizer: Tokenizer, without: int) -> tuple[Draft, Draft]:
        """Both texts as they stand."""
        where, sides = self._prompt(row), [text(row, side) for side in (self.chosen, self.rejected)]
        if where is None and all(map(is_dialogue, sides)):
            found = parted(*sides)
            if found is None:
                raise self._other_prompts(row, "the two do not part where the assistant speaks")
            prompt, *sides = found
        else:
            prompt = text(row, where or PROMPTS[0])
        chosen, rejected = (completed(tokenizer, later(prompt, without), side) for side in sides)
        return chosen, rejected

    def _prompt(self, row: Row) -> str | None:
        """The field of the prompt, if the row has one."""
        return self.prompt or next((name for name in PROMPTS if row.data.get(name) is not None), None)

    def _whole(self, row: Row, side: str) -> list[_talk.Message]:
        """Prompt and answer."""
        where, found = self._prompt(row), value(row, side)
        if where is None:
            return _dialogue(row, side) if isinstance(found, str) else _talk.messages(row, side)
        question = value(row, where)
        is_text = isinstance(question, str) and not is_dialogue(question)
        before = asked(row, where, self.input) if is_text else _talk.said(row, where, "user")
        return _joined(_talk.system(row, self.system) + before, _talk.reply(row, side, where))

    def _shared(self, row: Row, chosen: list[_talk.Message], rejected: list[_talk.Message]) -> int:
        """How many messages both begin with: the prompt. What follows must be an answer in both."""
        most = min(len(chosen), len(rejected)) - 1
        shared = next((at for at in range(most) if chosen[at] != rejected[at]), most)
        ends = [talk[shared].get("role") if talk[shared:] else None for talk in (chosen, rejected)]
        if ends != ["assistant", "assistant"]:
            found = f"turns of {ends[0]} and {ends[1]} where the two part, after {shared} messages"
            raise self._other_prompts(row, found)
        return shared

    def _other_prompts(self, row: Row, found: str) -> Refusal:
        must = f"{row.where} must have answers to one prompt in {self.chosen!r} and {self.rejected!r}"
        return Refusal(must, found, "let both begin with the same messages, the last of them the user's")


def _joined(prompt: list[_talk.Message], answer: list[_talk.Message]) -> list[_talk.Message]:
    """Both; what the answer says again of the prompt is said once. Either alone may have the system's message."""
    system, asked = _parted(prompt)
    own, rest = _parted(answer)
    if not _alike(rest[: len(asked)], asked):
        return prompt + answer
    same = not own or _alike(own, system)
    return (system if same else system + own) + asked + rest[len(asked) :]


def _parted(talk: list[_talk.Message]) -> tuple[list[_talk.Message], list[_talk.Message]]:
    """The system's message, if that comes first, and the rest."""
    first = 1 if talk and talk[0]["role"] == "system" else 0
    return talk[:first], talk[first:]


def _later(prompt: list[_talk.Message], without: int) -> list[_talk.Message]:
    """The prompt without its `without` oldest turns of the user and what follows each, but with the last; what the
    system says stays.
    """
    system, rest = _parted(prompt)
    asked = [at for at, message in enumerate(rest) if message.get("role") == "user"]
    return system + rest[asked[min(without, len(asked) - 1)] :] if asked else prompt


def _alike(one: list[_talk.Message], other: list[_talk.Message]) -> bool:
    """Whether the same is said by the same, space around it aside."""

    def plain(talk: list[_talk.Message]) -> list[_talk.Message]:
        return [{key: held.strip() if isinstance(held, str) else held for key, held in each.items()} for each in talk]

    return plain(one) == plain(other)


def _dialogue(row: Row, side: str) -> list[_talk.Message]:
    """The messages of one of Anthropic's dialogues."""
    if not is_dialogue(words := text(row, side)):
        fix = f"name its field in format.prompt, or add it: {corrected(row, PROMPTS[0], '...')}"
        must = f"{row.where} must have a prompt, or a dialogue that begins with '\\n\\nHuman:' as {side!r}"
        raise Refusal(must, repr(TURN.split(words)[0][:60]), fix)
    return turns(words)


def _side_by_side(chosen: Example, rejected: Example, degree: float | None) -> Example:
    ids, mask = [*chosen.ids, *rejected.ids], [*chosen.mask, *rejected.mask]
    return Example(ids, mask, chosen.bytes + rejected.bytes, cut=len(chosen.ids), label=degree)
