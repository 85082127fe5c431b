"""What is to be known of a reward model before it is used, in words."""

from collections.abc import Mapping

from viva.evaluate.reward.beside import Beside
from viva.evaluate.reward.measures import Calibration, Length, Share

RARELY = 0.01  # a difference that chance alone brings less often is taken for one that is there
USUAL = 0.05  # the usual bound, for a baseline that is to be beaten
FOLLOWS = 0.5  # a rank correlation, of either sign, from which on rewards may be mostly length


def flags(accuracy: Share, beside: Mapping[str, Beside], calibration: Calibration, length: Length | None) -> list[str]:
    """Sentences, none where nothing is to be said."""
    return [*_chance(accuracy), *_overconfident(accuracy, calibration), *_bias(length), *_beaten(beside)]


def overlap(pairs: int, trained: int, taught: int) -> list[str]:
    """What is to be said where, of so many pairs, the model was trained on some, or the baselines learned from some."""
    said = []
    if trained:
        of = f"{trained:,} of these {pairs:,} pairs are in the data that it was trained on"
        said.append(f"{of}: they do not tell what it is worth on others")
    if taught:
        of = f"the baselines learned from {taught:,} of these {pairs:,} pairs"
        said.append(f"{of}: they tell more of them right than of others, and the model's lead is too small")
    return said


def _chance(accuracy: Share) -> list[str]:
    if accuracy.high < 0.5:
        return [f"it prefers the rejected answer: {interval(accuracy)} of the pairs are told right"]
    if accuracy.low <= 0.5:
        return [f"at chance: {interval(accuracy)} of the pairs are told right, which a coin does too"]
    return []


def _overconfident(accuracy: Share, calibration: Calibration) -> list[str]:
    if calibration.confidence <= accuracy.high:
        return []
    sure = f"its mean confidence is {calibration.confidence:.1%}"
    return [f"overconfident: {sure}, but {interval(accuracy)} of the pairs are told right"]


def _bias(length: Length | None) -> list[str]:
    """Judges who mostly choose the longer answer lend a correlation with length to every model that agrees with them:
    what is held against one is where it leans beyond them, and follows length more often than it follows them.
    """
    if length is None or length.lean >= RARELY:
        return []
    said, is_longer = [], length.model > length.judges
    more, less = ("longer", "shorter") if is_longer else ("shorter", "longer")
    model, judges = (share if is_longer else 1 - share for share in (length.model, length.judges))
    often, seldom = (length.long, length.short) if is_longer else (length.short, length.long)
    if length.chance < RARELY and often.value > seldom.value:
        said.append(
            f"length bias: where the {less} answer is chosen it tells {seldom.value:.1%} right, else "
            f"{often.value:.1%}; it prefers the {more} one in {model:.1%} of the pairs, the judges in {judges:.1%}, "
            f"which chance brings with p = {length.lean:.2g}"
        )
    right = (often.right + seldom.right) / max(often.count + seldom.count, 1)
    if abs(length.apart) >= FOLLOWS and is_longer == (length.apart > 0) and model > right:
        said.append(
            f"it follows length more than the judges: the {more} an answer, the more it is worth (rank correlation "
            f"{length.apart:.2f})"
        )
    return said


def _beaten(beside: Mapping[str, Beside]) -> list[str]:
    return [
        f"not better than {name}: {100 * found.ahead:+.1f} points, which chance brings with p = {found.chance:.2g}"
        for name, found in beside.items()
        if found.ahead <= 0 or found.chance >= USUAL
    ]


def interval(share: Share) -> str:
    """A share with its interval.

    >>> interval(Share(8, 10, 0.4902, 0.9433))
    '80.0 % [49.0, 94.3]'
    """
    return f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"
