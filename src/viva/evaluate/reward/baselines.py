"""What needs no model: pairs told by which answer is longer, and by the words of the answers."""

from collections.abc import Callable, Iterator

import numpy as np

from viva.base.errors import Refusal
from viva.evaluate.reward.scored import Pairs

FOLDS = 5
WORD = r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+"  # a Chinese character, or what is written without a break
Baseline = Callable[[Pairs, Pairs], np.ndarray]


def by_length(train: Pairs, test: Pairs) -> np.ndarray:
    """Margins [N]: the longer answer, or the shorter one if that is chosen more often in `train`."""
    return (1 if _longer_chosen(train) else -1) * test.longer.astype(float)


def which_length(test: Pairs, train: Pairs | None) -> str:
    """The answer that `by_length` takes, in words."""
    found = {_longer_chosen(learned) for learned, _ in _taught(test, train)}
    if len(found) > 1:
        return "the longer or the shorter answer"
    return "the longer answer" if found == {True} else "the shorter answer"


def by_words(train: Pairs, test: Pairs) -> np.ndarray:
    """Margins [N] by a logistic regression on the difference of the answers' TF-IDF vectors. Each pair is learned from
    either side, so it has no bias.
    """
    try:
        import scipy.sparse
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        fix = "pip install 'viva[evaluate]'"
        raise Refusal("a baseline of words needs scikit-learn and scipy", f"no {error.name}", fix) from None

    counts = TfidfVectorizer(sublinear_tf=True, token_pattern=WORD)
    learned = counts.fit_transform(_texts(train))
    apart = learned[0::2] - learned[1::2]
    n = apart.shape[0]
    model = LogisticRegression(fit_intercept=False, max_iter=1000)
    model.fit(scipy.sparse.vstack([apart, -apart]), np.repeat([1, 0], n))
    found = counts.transform(_texts(test))
    return (found[0::2] - found[1::2]) @ model.coef_[0]


def margins(baseline: Baseline, test: Pairs, train: Pairs | None) -> np.ndarray:
    """Of a baseline that learned from `train` or, where there is none, for each part of `test` from its other parts."""
    found = np.empty(len(test.where))
    for learned, asked in _taught(test, train):
        found[asked] = baseline(learned, test.some(asked))
    return found


def _taught(test: Pairs, train: Pairs | None) -> Iterator[tuple[Pairs, np.ndarray]]:
    """The pairs that are learned from, and which of `test` [N] are told by that."""
    if train is not None:
        yield train, np.full(len(test.where), True)
        return
    if len(test.where) < FOLDS:
        must = f"pairs must be {FOLDS} at least for a baseline to learn from some and be measured on others"
        raise Refusal(must, len(test.where), "give more, or pairs to learn from with --train")
    part = np.arange(len(test.where)) % FOLDS
    for number in range(FOLDS):
        yield test.some(part != number), part == number


def _longer_chosen(pairs: Pairs) -> bool:
    """Whether the longer answer is chosen as often as the shorter one, or more often."""
    return np.sign(pairs.longer).sum() >= 0


def _texts(pairs: Pairs) -> list[str]:
    return [side.text for both in pairs.sides for side in both]
