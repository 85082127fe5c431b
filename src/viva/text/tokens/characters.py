"""Text that is text: half a surrogate pair, which JSON and shells can smuggle into a string, has no UTF-8."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeVar

from viva.base.errors import Refusal

T, U = TypeVar("T"), TypeVar("U")


def require_whole(text: str, where: str = "text") -> str:
    """`text` itself; refused where a character of it cannot be written as UTF-8. `where` begins the sentence."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"a lone surrogate at character {error.start}"
        raise Refusal(f"{where} must have whole Unicode characters", found, "write it as UTF-8") from None
    return text


def require_list(given: object, what: str) -> list:
    """What a list, a tuple or a column holds; refused where it is one text alone, which would be read letter by letter,
    and where it has no order.
    """
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping | Set):
        raise Refusal(f"{what} must come in a list", _short(given), f"give a list of {what}")
    return list(given)


def require_texts(given: object, what: str = "texts") -> list[str]:
    """The texts of a list; refused where it is none, and where it holds anything else."""
    texts = require_list(given, what)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            fix = "write it as a string, or leave it out"
            raise Refusal(f"a list of {what} must hold strings alone", f"{_short(text)} at place {number}", fix)
    return texts


def couples(first: Sequence[T], second: Sequence[U]) -> list[tuple[T, U]]:
    """Each text with the second text of its pair; refused where there are more of one than of the other."""
    if len(first) != len(second):
        found = f"{len(first)} and {len(second)}"
        raise Refusal("each text must have the second text of its pair", found, "give two lists of one length")
    return list(zip(first, second, strict=True))


def _short(given: object) -> str:
    return repr(given)[:80]
