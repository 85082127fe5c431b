"""What tells two tokenizers apart: parts of their fingerprints, and texts of which they make different ids."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from viva.text.tokens.fingerprint import Fingerprint
from viva.text.tokens.tokenizer import Tokenizer

AROUND = 3  # tokens shown before and behind the first that differ


@dataclass(frozen=True)
class Difference:
    """A text, the place of the first id that differs, and the tokens around it by each tokenizer as (id, token)."""

    text: str
    place: int
    first: list[tuple[int, str]]
    second: list[tuple[int, str]]


def parts(first: Tokenizer, second: Tokenizer) -> list[str]:
    """The names of the parts of the fingerprint that differ."""
    one, other = first.fingerprint, second.fingerprint
    return [part for part in Fingerprint.model_fields if getattr(one, part) != getattr(other, part)]


def differences(first: Tokenizer, second: Tokenizer, texts: Iterable[str]) -> Iterator[Difference]:
    """Each text of which the two make different ids."""
    for text in texts:
        ids = first.encode(text), second.encode(text)
        if ids[0] != ids[1]:
            place = next(i for i, (a, b) in enumerate(zip_longest(*ids)) if a != b)
            yield Difference(text, place, _around(first, ids[0], place), _around(second, ids[1], place))


def _around(tokenizer: Tokenizer, ids: list[int], place: int) -> list[tuple[int, str]]:
    shown = ids[max(0, place - AROUND) : place + AROUND + 1]
    return [(number, tokenizer.core.id_to_token(number)) for number in shown]
