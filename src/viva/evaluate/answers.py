"""How well a model finds answers in texts: exact match and F1 over words (SQuAD, Rajpurkar et al. 2016,
https://arxiv.org/abs/1606.05250, section 6.1).
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from viva.infer.answers import answers
from viva.model.whole import Whole
from viva.text.rows.format.questions import Config as Format
from viva.text.rows.row import Row
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Scores:
    """`exact`: the share of answers that are right to the word. `f1`: the mean of each answer's F1 over its words."""

    exact: float
    f1: float


def predicted(model: Whole, tokenizer: Tokenizer, form: Format, rows: Sequence[Row]) -> list[str]:
    """The answer that the model gives to each row, a piece of its text; refused as by `infer.answers`."""
    model.eval()
    return [answer.text for answer in answers(model, tokenizer, form, rows)]


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
