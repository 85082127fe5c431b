"""How well a model finds answers in texts: exact match and F1 over words (SQuAD, Rajpurkar et al. 2016,
https://arxiv.org/abs/1606.05250, section 6.1).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from viva.base.errors import Refusal
from viva.model.whole import Whole
from viva.text.fields import frame_of_two, text
from viva.text.format.questions import Asked
from viva.text.format.questions import Config as Format
from viva.text.row import Row
from viva.text.tokenizer import Tokenizer

LONGEST = 30  # tokens of an answer that is looked for


@dataclass(frozen=True)
class Scores:
    """`exact`: the share of answers that are right to the word. `f1`: the mean of each answer's F1 over its words."""

    exact: float
    f1: float


@torch.inference_mode()
def predicted(model: Whole, tokenizer: Tokenizer, form: Format, rows: Sequence[Row]) -> list[str]:
    """The answer that the model gives to each row, a piece of its text; a row longer than it reads is refused."""
    model.eval()
    frame = frame_of_two(tokenizer)
    return [_answer(model, form.asked(row, tokenizer, frame), text(row, form.context)) for row in rows]


def _answer(model: Whole, asked: Asked, context: str) -> str:
    """The stretch of at most LONGEST tokens with the largest sum of the scores of its first and its last."""
    if len(asked.ids) > model.spec.context:
        must = f"a question and its text must have at most {model.spec.context} tokens"
        raise Refusal(must, len(asked.ids), "shorten the text, or use a model with a longer context")
    ids = torch.tensor([asked.ids], device=model.embedding.weight.device)
    second = (torch.arange(ids.shape[1], device=ids.device) >= asked.cut).long()[None]
    scores = model(ids, segments=second if model.tells_segments else None)[
        0, asked.cut : asked.cut + len(asked.offsets)
    ]
    sums = scores[:, :1] + scores[:, 1]  # [first, last]
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(LONGEST - 1)
    first, last = divmod(int(sums.masked_fill(~allowed, -torch.inf).argmax()), len(sums))
    return context[asked.offsets[first][0] : asked.offsets[last][1]].strip()


def scores(found: Sequence[str], right: Sequence[Sequence[str]]) -> Scores:
    """Of answers beside those that are right for each, of which the one that it is most like counts."""
    pairs = [[(words(answer), words(other)) for other in others] for answer, others in zip(found, right, strict=True)]
    exact = sum(any(a == b for a, b in each) for each in pairs)
    return Scores(exact / len(pairs), sum(max(f1(a, b) for a, b in each) for each in pairs) / len(pairs))


def words(answer: str) -> list[str]:
    """In small letters, without punctuation and articles.

    >>> words("The Dog's  bone, again")
    ['dogs', 'bone', 'again']
    """
    plain = answer.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def f1(found: list[str], right: list[str]) -> float:
    """Twice the words in common over all words: the harmonic mean of precision and recall."""
    common = (Counter(found) & Counter(right)).total()
    return 2 * common / (len(found) + len(right)) if common else 0.0
