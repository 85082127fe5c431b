"""A question, and a text in which its answer stands (SQuAD, Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, frame_of_two, text, value
from viva.text.rows.row import Row
from viva.text.tokens.example import UNTAGGED, Example, mask
from viva.text.tokens.tokenizer import Tokenizer

ANSWER = 1  # the tag of the answer's tokens; others of the text have 0, those of the question none

Frame = tuple[list[int], list[int], list[int]]


@dataclass(frozen=True)
class Asked:
    """The ids of question and text as one. The text's tokens begin at `cut`; `offsets` are their characters in it."""

    ids: list[int]
    cut: int
    offsets: list[tuple[int, int]]


class Config(Format):
    """context, question, answers: the names of the fields. `answers` is {"text": [...], "answer_start": [...]}, with
    the character of the context at which each begins; the first is learned. A row with one alone may have the fields
    `answer` and `answer_start` in its place.
    """

    told_by: ClassVar = (("context", "question", "answers"), ("context", "question", "answer", "answer_start"))

    context: str = "context"
    question: str = "question"
    answers: str = "answers"

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        frame = frame_of_two(tokenizer)
        return [self._example(row, tokenizer, frame) for row in rows]

    def aim(self, found: Example, tokenizer: Tokenizer) -> str:
        answer = [token for token, tag in zip(found.ids, found.tags, strict=True) if tag == ANSWER]
        return f"the answer: {tokenizer.decode(answer).strip()}"

    def asked(self, row: Row, tokenizer: Tokenizer, frame: Frame) -> Asked:
        """Question and text of a row between what `frame_of_two` says."""
        before, between, after = frame
        inside = tokenizer.encode_plain(text(row, self.context))
        first = [*before, *tokenizer.encode(text(row, self.question)), *between]
        return Asked([*first, *inside.ids, *after], len(first), inside.offsets)

    def answered(self, row: Row) -> list[tuple[str, int]]:
        """The answers of a row and where each begins; refused if there is none, or one does not stand there."""
        context, found = text(row, self.context), _listed(row, self._said(row))
        for answer, start in found:
            there = context[start : start + len(answer)] if start >= 0 else ""
            if there != answer or not answer.strip():
                must = f"{row.where} must have its answer {answer[:40]!r} in the text, at character {start}"
                raise Refusal(must, repr(there[:40]), "mend the place, or remove the row")
        return found

    def _said(self, row: Row) -> Any:
        if self.answers not in row.data and "answer" in row.data:
            return {"text": row.data["answer"], "answer_start": value(row, "answer_start")}
        return value(row, self.answers)

    def _example(self, row: Row, tokenizer: Tokenizer, frame: Frame) -> Example | None:
        if not (text(row, self.question) and text(row, self.context)):
            return None
        asked, (answer, start) = self.asked(row, tokenizer, frame), self.answered(row)[0]
        tags = [ANSWER * inside for inside in mask(asked.offsets, [(start, start + len(answer))])]
        behind = len(asked.ids) - asked.cut - len(tags)
        tags = [UNTAGGED] * asked.cut + tags + [UNTAGGED] * behind
        return Example(asked.ids, [False] * len(asked.ids), 0, cut=asked.cut, tags=tags)


def _listed(row: Row, said: Any) -> list[tuple[str, int]]:
    try:
        sides = [said[name] for name in ("text", "answer_start")]
        texts, starts = (side if isinstance(side, list) else [side] for side in sides)
        found = [(str(answer), int(start)) for answer, start in zip(texts, starts, strict=True)]
    except (TypeError, KeyError, ValueError):
        fix = 'write {"text": [...], "answer_start": [...]}'
        raise Refusal(f"{row.where} must have answers, each with its place", repr(said)[:80], fix) from None
    if not found:
        raise Refusal(f"{row.where} must have an answer", "none", "remove the row")
    return found
