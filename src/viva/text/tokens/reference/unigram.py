"""Unigram (Kudo 2018, section 3.2): pieces with probabilities; a text is split as is most probable.

Learning begins with many pieces. Expectation and maximisation (two rounds) give their probabilities, then those that
the likelihood can best do without are taken out, a quarter at a time. Where the paper leaves something open, this does
what sentencepiece and `tokenizers` do. Scores are log probabilities.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from math import exp, inf, log

from numpy import logaddexp

from viva.text.tokens.reference.digamma import digamma

LONGEST, KEPT, SPARE = 16, 0.75, 1.1  # characters of a piece; the share a pruning keeps; of the size, before the end
UNKNOWN, PENALTY = None, 10.0  # a character without a piece, and how much below all others its score is
STEP = 1e-4

Scores = dict[str, float]


def learn(words: Mapping[str, int], size: int) -> Scores:
    """`size` pieces with their scores. words: each with how often it occurs."""
    scores = seeds(words)
    while True:
        for _ in range(2):
            scores = maximised(expected(words, scores))
        if len(scores) + 1 <= int(size * SPARE):
            return completed(words, scores, size)
        scores = pruned(words, scores, max(int(size * SPARE), int((len(scores) + 1) * KEPT)) - 1)


def seeds(words: Mapping[str, int]) -> Scores:
    """All characters, and substrings that several characters follow (the inner nodes of a suffix tree), by how much
    text they would save: how often they occur, times their length.
    """
    characters, follows, often = Counter(), defaultdict(set), Counter()
    for word, count in words.items():
        for start, character in enumerate(word):
            characters[character] += count
            for end in range(start + 2, min(len(word), start + LONGEST) + 1):
                often[word[start:end]] += 1
                follows[word[start:end]].add(word[end : end + 1])
    saved = {piece: often[piece] * len(piece) for piece in often if len(follows[piece]) > 1}
    found = [*_ranked(characters), *_ranked(saved)]
    total = log(sum(weight for _, weight in found))
    return {piece: log(weight) - total for piece, weight in found}


def expected(words: Mapping[str, int], scores: Scores) -> Scores:
    """How often each piece occurs, over all splits of each word by their probability (forward-backward)."""
    counts = dict.fromkeys(scores, 0.0)
    for word, count in words.items():
        nodes = list(lattice(word, scores))
        before, after = [0.0] + [-inf] * len(word), [-inf] * len(word) + [0.0]
        for start, end, _, score in nodes:
            before[end] = logaddexp(before[end], before[start] + score)
        for start, end, _, score in reversed(nodes):
            after[start] = logaddexp(after[start], after[end] + score)
        for start, end, piece, score in nodes:
            if piece is not UNKNOWN:
                counts[piece] += count * exp(before[start] + score + after[end] - before[-1])
    return counts


def maximised(counts: Scores) -> Scores:
    """Scores by counts; pieces seen less than half a time are dropped. The digamma function in place of the logarithm
    makes a sparse prior of it (Liang and Klein 2007).
    """
    kept = {piece: count for piece, count in counts.items() if count >= 0.5}
    total = digamma(sum(kept.values()))
    return {piece: digamma(count) - total for piece, count in kept.items()}


def pruned(words: Mapping[str, int], scores: Scores, size: int) -> Scores:
    """The `size` pieces without which the likelihood of the text would fall most; characters stay."""
    often = Counter()
    for word, count in words.items():
        for piece in split(word, scores):
            often[piece] += count
    total, kept, losses = sum(often.values()), [], {}
    lowest = min(scores.values()) - PENALTY
    for piece, score in scores.items():
        instead = split(piece, scores, apart=True) if len(piece) > 1 else []
        better = sum(scores.get(part, lowest) for part in instead) > score
        if not instead or (better and often[piece]):
            kept.append(piece)
        elif often[piece]:
            share = often[piece] / sum(words.values())
            # so in `tokenizers`; sentencepiece has the number of the pieces that are added, `len(instead) - 1`
            left = log(total + often[piece] * len(scores))
            parts = sum(log(often[part] + often[piece]) - left for part in instead)
            losses[piece] = share * (log(often[piece]) - log(total) - parts)
    kept += sorted(losses, key=lambda piece: -losses[piece])[: max(0, size - len(kept))]
    return {piece: scores[piece] for piece in kept}


def completed(words: Mapping[str, int], scores: Scores, size: int) -> Scores:
    """`size` pieces, every character of the text among them; one that was dropped comes back with the lowest score."""
    lowest, dropped = min(scores.values()), sorted({*"".join(words)} - scores.keys())
    found = {character: lowest + STEP * place for place, character in enumerate(dropped)}
    found |= {piece: score for piece, score in scores.items() if len(piece) == 1}
    longer = [piece for piece in scores if len(piece) > 1][: max(0, size - len(found))]
    return found | {piece: scores[piece] for piece in longer}


def split(word: str, scores: Scores, apart: bool = False) -> list[str | None]:
    """The most probable pieces of a word (Viterbi), UNKNOWN for a character without one; `apart`, of two or more."""
    best: list[tuple[float, int, str | None]] = [(0.0, 0, "")] + [(-inf, 0, "")] * len(word)
    for start, end, piece, score in lattice(word, scores):
        if best[start][0] + score > best[end][0] and not (apart and piece == word):
            best[end] = (best[start][0] + score, start, piece)
    found, at = [], len(word)
    while at:
        _, at, piece = best[at]
        found.append(piece)
    return found[::-1]


def lattice(word: str, scores: Scores) -> Iterator[tuple[int, int, str | None, float]]:
    """(start, end, piece, score) of every piece at every place of a word, from the left."""
    for start in range(len(word)):
        for end in range(start + 1, min(len(word), start + LONGEST) + 1):
            if (piece := word[start:end]) in scores:
                yield start, end, piece, scores[piece]
        if word[start] not in scores:
            yield start, start + 1, UNKNOWN, min(scores.values()) - PENALTY


def _ranked(weights: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(weights.items(), key=lambda item: (item[1], item[0]), reverse=True)
