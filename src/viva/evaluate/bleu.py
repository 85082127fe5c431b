"""BLEU (Papineni et al. 2002), as sacrebleu computes it (Post 2018, https://arxiv.org/abs/1804.08771)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from viva.base.errors import Refusal, nearest
from viva.text.tokens.characters import require_texts

UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)  # kana and Han, of words without spaces
LONG = 3  # letters; words of these that are set apart have fewer on average


@dataclass(frozen=True)
class Bleu:
    """`score` of the whole, 0 to 100; half the width of its 95 % interval by bootstrap; what makes it comparable."""

    score: float
    within: float
    signature: str


def bleu(said: Sequence[str], expected: Sequence[str], resamples: int = 1000, tokenize: str = "13a") -> Bleu:
    """Corpus BLEU of translations beside one reference each, cased, by tokens of sacrebleu's `tokenize`: "13a" where
    spaces set words apart, "zh" for Chinese, "ja-mecab" for Japanese, "char" for each character on its own.
    """
    metric = _metric(said, expected, tokenize)
    found = metric.corpus_score(list(said), [list(expected)], n_bootstrap=resamples)
    return Bleu(found.score, found._ci, metric.get_signature().format())


def by_length(
    sources: Sequence[str],
    said: Sequence[str],
    expected: Sequence[str],
    borders: Sequence[int],
    tokenize: str = "13a",
) -> dict[str, tuple[int, float]]:
    """{range of words in the source: (how many, BLEU)}; `borders` are the first lengths of all ranges but the first."""
    metric = _metric(said, expected, tokenize)
    edges = [0, *borders, None]
    found = {}
    for low, high in pairwise(edges):
        inside = [i for i, text in enumerate(sources) if low <= len(text.split()) < (high or 10**9)]
        if inside:
            score = metric.corpus_score([said[i] for i in inside], [[expected[i] for i in inside]]).score
            found[f"{low}-{high - 1}" if high else f"{low}+"] = len(inside), score
    return found


def _metric(said: Sequence[str], expected: Sequence[str], tokenize: str):
    """sacrebleu's metric, where it can measure these texts."""
    from sacrebleu.metrics import BLEU

    said, expected = require_texts(said, "translations"), require_texts(expected, "references")
    if len(said) != len(expected) or not said:
        found = f"{len(said)} and {len(expected)}"
        raise Refusal("translations must have a reference each", found, "give two lists of one length")
    if str(tokenize) not in BLEU.TOKENIZERS:
        fix = nearest(str(tokenize), list(BLEU.TOKENIZERS))
        raise Refusal("tokenize must be known to sacrebleu", repr(tokenize), fix)
    words = " ".join(expected).split()
    letters = "".join(words)
    if tokenize == "13a" and 2 * len(UNSPACED.findall(letters)) > len(letters) > LONG * len(words):
        fix = 'give tokenize "zh", "ja-mecab" or "char"'
        raise Refusal("words must be set apart by spaces for BLEU by 13a", "references mostly in Han or kana", fix)
    try:
        return BLEU(tokenize=tokenize)
    except (ImportError, RuntimeError) as error:  # some need packages of their own
        raise Refusal(
            f"the tokens {tokenize} must be there to measure by", error, 'install it, or use "char"'
        ) from None
