"""WordPiece (Schuster and Nakajima 2012), as BERT encodes it and as the library `tokenizers` learns it.

The paper merges the pair that raises the likelihood of the text most. What `tokenizers` does, and this file, is
byte-pair encoding with symbols that say whether they begin a word ("d") or go on with it ("##o").
"""

from collections.abc import Iterable, Mapping

from viva.text.tokens.reference import bpe

GOES_ON = "##"


def symbols(word: str) -> tuple[str, ...]:
    """
    >>> symbols("dog")
    ('d', '##o', '##g')
    """
    return (*word[:1], *(GOES_ON + character for character in word[1:]))


def join(left: str, right: str) -> str:
    """
    >>> join("d", "##og")
    'dog'
    """
    return left + right.removeprefix(GOES_ON)


def learn(words: Mapping[str, int], alphabet: Iterable[str], size: int, least: int = 2) -> list[str]:
    """The vocabulary of `size` pieces. words: each with how often it occurs; alphabet: the first pieces."""
    pieces, _ = bpe.learn({symbols(word): count for word, count in words.items()}, alphabet, size, least, join)
    return pieces


def encode(word: str, vocabulary: set[str]) -> list[str] | None:
    """The pieces of a word: from the left, the longest that is in the vocabulary; None where one place has none.

    >>> encode("dogs", {"do", "dog", "##s", "##g"})
    ['dog', '##s']
    """
    found, start = [], 0
    while start < len(word):
        mark = GOES_ON if start else ""
        ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in vocabulary)
        end = next(ends, None)
        if end is None:
            return None
        found.append(mark + word[start:end])
        start = end
    return found
