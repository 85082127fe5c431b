"""Byte-pair encoding (Sennrich, Haddow and Birch 2016, algorithm 1): merge the most frequent pair, again and again.

A symbol is a string: a character, or a byte written as one; for WordPiece, one with a mark.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from operator import add

Pair = tuple[str, str]
Word = tuple[str, ...]


def learn(
    words: Mapping[Word, int],
    alphabet: Iterable[str],
    size: int,
    least: int = 2,
    join: Callable[[str, str], str] = add,
) -> tuple[list[str], list[Pair]]:
    """The vocabulary of `size` symbols, in the order of their ids, and the merges in the order they were learned.

    words: each with how often it occurs; alphabet: the first symbols. A pair that occurs fewer than `least` times is
    not merged. Of pairs equally frequent that one is, whose first symbol, then whose second, has the lower id.
    """
    ids = {symbol: number for number, symbol in enumerate(alphabet)}
    merges = []
    while len(ids) < size:
        counts = count_pairs(words)
        if not counts:
            break
        pair = min(counts, key=lambda pair: (-counts[pair], ids[pair[0]], ids[pair[1]]))
        if counts[pair] < least:
            break
        merges.append(pair)
        ids.setdefault(join(*pair), len(ids))
        words = merged_words(words, pair, join)
    return list(ids), merges


def count_pairs(words: Mapping[Word, int]) -> Counter[Pair]:
    """How often each two symbols stand side by side."""
    counts = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return counts


def merged_words(words: Mapping[Word, int], pair: Pair, join: Callable[[str, str], str] = add) -> dict[Word, int]:
    """The words with the pair's symbols made one wherever they stand side by side."""
    return {merged(word, pair, join): count for word, count in words.items()}


def merged(word: Word, pair: Pair, join: Callable[[str, str], str] = add) -> Word:
    """One word, its pairs merged from left to right.

    >>> merged(("a", "a", "a", "b"), ("a", "a"))
    ('aa', 'a', 'b')
    """
    found, at = [], 0
    while at < len(word):
        if word[at : at + 2] == pair:
            found.append(join(*pair))
            at += 2
        else:
            found.append(word[at])
            at += 1
    return tuple(found)


def encode(word: Word, merges: list[Pair]) -> Word:
    """The symbols of a word: of the merges that are possible, the one that was learned first is done first.

    >>> encode(tuple("lowest"), [("e", "s"), ("es", "t"), ("l", "o")])
    ('lo', 'w', 'est')
    """
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while possible := [pair for pair in pairwise(word) if pair in ranks]:
        word = merged(word, min(possible, key=ranks.get))
    return word
