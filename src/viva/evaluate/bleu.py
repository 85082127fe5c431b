"""BLEU (Papineni et al. 2002), as sacrebleu computes it (Post 2018, https://arxiv.org/abs/1804.08771)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from viva.base.errors import Refusal


@dataclass(frozen=True)
class Bleu:
    """`score` of the whole, 0 to 100; half the width of its 95 % interval by bootstrap; what makes it comparable."""

    score: float
    within: float
    signature: str


def bleu(said: Sequence[str], expected: Sequence[str], resamples: int = 1000) -> Bleu:
    """Corpus BLEU of translations beside one reference each, cased, by sacrebleu's own tokens (13a)."""
    from sacrebleu.metrics import BLEU

    _require_pairs(said, expected)
    metric = BLEU()
    found = metric.corpus_score(list(said), [list(expected)], n_bootstrap=resamples)
    return Bleu(found.score, found._ci, metric.get_signature().format())


def by_length(
    sources: Sequence[str], said: Sequence[str], expected: Sequence[str], borders: Sequence[int]
) -> dict[str, tuple[int, float]]:
    """{range of words in the source: (how many, BLEU)}; `borders` are the first lengths of all ranges but the first."""
    from sacrebleu.metrics import BLEU

    _require_pairs(said, expected)
    edges = [0, *borders, None]
    found = {}
    for low, high in pairwise(edges):
        inside = [i for i, text in enumerate(sources) if low <= len(text.split()) < (high or 10**9)]
        if inside:
            score = BLEU().corpus_score([said[i] for i in inside], [[expected[i] for i in inside]]).score
            found[f"{low}-{high - 1}" if high else f"{low}+"] = len(inside), score
    return found


def _require_pairs(said: Sequence[str], expected: Sequence[str]) -> None:
    if len(said) != len(expected) or not said:
        found = f"{len(said)} and {len(expected)}"
        raise Refusal("translations must have a reference each", found, "give two lists of one length")
