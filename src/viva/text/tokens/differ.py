"""What tells two tokenizers apart: parts of their fingerprints, and texts of which they make different ids."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from viva.text.tokens.fingerprint import Fingerprint
from viva.text.tokens.tokenizer import Tokenizer

AROUND = 3  # tokens shown before and behind the first that differ
WAYS = {  # of a text to its ids
    "a person's text": lambda tokenizer, text: tokenizer.encode(text),
    "special tokens counting": lambda tokenizer, text: list(tokenizer.encode_marked([text])[0].ids),
    "framed": lambda tokenizer, text: tokenizer.encode_framed([text])[0].ids,
}


@dataclass(frozen=True)
class Difference:
    """A text, the first of the WAYS on which its ids differ, the place of the first id that does, and the tokens around
    it by each tokenizer as (id, token).
    """

    text: str
    way: str
    place: int
    first: list[tuple[int, str]]
    second: list[tuple[int, str]]


def parts(first: Tokenizer, second: Tokenizer) -> list[str]:
    """The names of the parts of the fingerprint that differ."""
    one, other = first.fingerprint, second.fingerprint
    return [part for part in Fingerprint.model_fields if getattr(one, part) != getattr(other, part)]


def added(*tokenizers: Tokenizer) -> list[str]:
    """A text for each token that was added to one of them: with spaces around it, and within a word."""
    tokens = {str(token): None for each in tokenizers for token in each.core.get_added_tokens_decoder().values()}
    return [f"one {token} two{token}three" for token in tokens]


def differences(first: Tokenizer, second: Tokenizer, texts: Iterable[str]) -> Iterator[Difference]:
    """Each text of which the two make different ids: as a person's, as a template's, or between what frames a text."""
    for text in texts:
        for name, way in WAYS.items():
            ids = way(first, text), way(second, text)
            if ids[0] != ids[1]:
                place = next(i for i, (a, b) in enumerate(zip_longest(*ids)) if a != b)
                yield Difference(text, name, place, _around(first, ids[0], place), _around(second, ids[1], place))
                break


def _around(tokenizer: Tokenizer, ids: list[int], place: int) -> list[tuple[int, str]]:
    shown = ids[max(0, place - AROUND) : place + AROUND + 1]
    return [(number, tokenizer.core.id_to_token(number)) for number in shown]
