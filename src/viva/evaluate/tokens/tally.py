"""What a tokenizer makes of texts, counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from viva.evaluate.tokens.vocabulary import Vocabulary
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Tally:
    """tokens: in all. unknown, fragments: those of them that are the unknown token, or bytes and no whole character.
    hidden: the characters for which unknown tokens stand. ids: the different ones.
    """

    tokens: int = 0
    unknown: int = 0
    fragments: int = 0
    hidden: int = 0
    ids: frozenset[int] = frozenset()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.tokens + other.tokens,
            self.unknown + other.unknown,
            self.fragments + other.fragments,
            self.hidden + other.hidden,
            self.ids | other.ids,
        )


def tally(tokenizer: Tokenizer, known: Vocabulary, texts: Iterable[str]) -> Tally:
    """What the tokenizer makes of the texts, all of them plain text."""
    counts, hidden = Counter(), 0
    for text in texts:
        encoding = tokenizer.encode_plain(text)
        ids = encoding.ids
        counts.update(ids)
        if known.unknown in ids:
            pairs = zip(ids, encoding.offsets, strict=True)
            hidden += sum(end - start for number, (start, end) in pairs if number == known.unknown)
    fragments = sum(counts[number] for number in (known.fragments or frozenset()) & counts.keys())
    return Tally(counts.total(), counts[known.unknown], fragments, hidden, frozenset(counts))
