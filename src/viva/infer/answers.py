"""Answers found in texts, as a model with the head `span` does (BERT, Devlin et al. 2019, section 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer.together import read_together, require_fit
from viva.model.whole import Whole
from viva.text.rows.fields import frame_of_two, text
from viva.text.rows.format.questions import Asked, Config
from viva.text.rows.row import Row
from viva.text.tokens.characters import couples
from viva.text.tokens.tokenizer import Tokenizer

LONGEST = 30  # tokens of an answer that is looked for


@dataclass(frozen=True)
class Answer:
    """`text`: the characters [start, end) of the text that was asked. `probability`: that of its first token among the
    text's, times that of its last.
    """

    text: str
    probability: float
    start: int
    end: int


def answer(model: Whole, tokenizer: Tokenizer, questions: Sequence[str], contexts: Sequence[str]) -> list[Answer]:
    """The answer to each question in the text that goes with it."""
    pairs = enumerate(couples(questions, contexts))
    rows = [Row({"question": question, "context": context}, f"text {n}") for n, (question, context) in pairs]
    return answers(model, tokenizer, Config(), rows)


def answers(model: Whole, tokenizer: Tokenizer, form: Config, rows: Sequence[Row]) -> list[Answer]:
    """The answer to each row, a piece of its text; a row is refused if one of its texts is empty, or if it is longer
    than the model reads.
    """
    frame = frame_of_two(tokenizer)
    asked = [form.asked(row, tokenizer, frame) for row in rows]
    for row, each in zip(rows, asked, strict=True):
        _require_readable(model, form, row, each)
    found = [scores[0] for scores in read_together(model, [each.ids for each in asked], [each.cut for each in asked])]
    scores = torch.cat(found).split([len(each.ids) for each in asked]) if found else ()
    return [_best(of, each, text(row, form.context)) for of, each, row in zip(scores, asked, rows, strict=True)]


def _require_readable(model: Whole, form: Config, row: Row, asked: Asked) -> None:
    if not (text(row, form.context).strip() and text(row, form.question).strip()):
        raise Refusal(f"{row.where} must have a question, and a text to find its answer in", "nothing", "leave it out")
    require_fit(model, "a question and its text", len(asked.ids))


def _best(scores: Tensor, asked: Asked, context: str) -> Answer:
    """The stretch of at most LONGEST tokens with the largest sum of the scores [T, 2] of its first and its last."""
    inside = scores[asked.cut : asked.cut + len(asked.offsets)].float().log_softmax(0)
    sums = inside[:, :1] + inside[:, 1]  # [first, last]
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(LONGEST - 1)
    first, last = divmod(int(sums.masked_fill(~allowed, -torch.inf).argmax()), len(sums))
    start, end = asked.offsets[first][0], asked.offsets[last][1]
    found = context[start:end]
    start += len(found) - len(found.lstrip())
    return Answer(found.strip(), float(sums[first, last].exp()), start, start + len(found.strip()))
