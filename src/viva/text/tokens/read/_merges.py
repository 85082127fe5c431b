"""The merges of a byte-pair encoding whose file has only the order of its tokens."""

from collections.abc import Mapping
from typing import AnyStr


def recovered(ranks: Mapping[AnyStr, float]) -> list[tuple[AnyStr, AnyStr]]:
    """The one pair that each token is made of, in the order of the tokens' ranks, the lowest first.

    tiktoken and SentencePiece join whichever two neighbours make the token of the lowest rank. A token is joined where
    nothing was joined across its borders, so what happened between them is what happens to its own characters alone:
    these, joined by other ranks for as long as there are lower ones, end as its pair. A token that so ends in more than
    two parts is never made by joining, and has no merge.

    Of equal ranks, which LLaMA's runs of spaces have, the leftmost is joined first, so that a run grows from its left
    until no token is longer. The longer token comes first here, which makes each run grow before the next begins.
    """
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda item: (item[1], -len(item[0]))):
        parts = _joined(token, ranks, rank)
        if len(parts) == 2:
            pairs.append((parts[0], parts[1]))
    return pairs


def _joined(token: AnyStr, ranks: Mapping[AnyStr, float], most: float) -> list[AnyStr]:
    """The characters of `token`, joined to two parts, or by every rank up to `most`: the lowest first, and of equals
    the leftmost.
    """
    never, parts = most + 1, [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(parts[i] + parts[i + 1], never) for i in range(len(parts) - 1)]
        lowest = min(joined)
        if lowest > most:
            break
        place = joined.index(lowest)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
