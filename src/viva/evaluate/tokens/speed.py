"""How fast tokenizers encode the same texts, taking turns, so that a slow moment of the machine meets all of them."""

import time
from collections.abc import Iterator, Mapping
from itertools import accumulate, takewhile

from viva.text.tokens.tokenizer import Tokenizer

MOST = 2**20  # characters of a language that are timed


def timed(texts: list[str]) -> list[str]:
    """The texts of a language on which speed is measured: the first, as far as MOST characters, and one at least."""
    sizes = accumulate(len(text) for text in texts)
    return texts[: max(1, sum(1 for _ in takewhile(lambda size: size <= MOST, sizes)))]


def seconds(
    tokenizers: Mapping[str, Tokenizer], languages: Mapping[str, list[str]], turns: int
) -> dict[str, dict[str, list[float]]]:
    """tokenizer -> language -> seconds of each turn, one text at a time in one thread."""
    found = {name: {language: [] for language in languages} for name in tokenizers}
    for _ in range(turns):
        for name, tokenizer in tokenizers.items():
            for language, spent in _turn(tokenizer, languages):
                found[name][language].append(spent)
    return found


def _turn(tokenizer: Tokenizer, languages: Mapping[str, list[str]]) -> Iterator[tuple[str, float]]:
    for language, texts in languages.items():
        start = time.perf_counter()
        for text in texts:
            tokenizer.encode(text)
        yield language, time.perf_counter() - start
