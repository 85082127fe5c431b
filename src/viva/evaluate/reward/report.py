"""What a reward model is worth on pairs that it has not learned from."""

from dataclasses import asdict, dataclass

import numpy as np

from viva.base.errors import Refusal
from viva.evaluate.reward.baselines import by_length, by_words, margins, which_length
from viva.evaluate.reward.beside import Beside, beside
from viva.evaluate.reward.flags import flags, overlap
from viva.evaluate.reward.measures import Calibration, Length, Share, calibration, length, share, told_right
from viva.evaluate.reward.scored import Pairs, Scored, Side
from viva.text.rows.format.preference import Config as Format


@dataclass(frozen=True)
class Wrong:
    """A pair told wrong, and what each answer is worth to the model."""

    where: str
    chosen: Side
    rejected: Side
    rewards: tuple[float, float]


@dataclass(frozen=True)
class Report:
    """`form` is how rows were read, `left_out` how many further pairs are too long for the model, `unread` how many
    rows cannot be read. `trained`: how many of the pairs are in the data that the model was trained on, None where that
    is `unknown`, and why. `learned`: how many pairs the baselines learned from, `taught` how many of those reported on
    are among them, None and 0 where each part of the pairs was told by what the others teach. `length` is None, and
    no baseline, where it tells nothing. `flags` say in words what is to be known before the model is used; of
    `worst`, the worst comes first.
    """

    data: str
    form: dict
    pairs: int
    left_out: int
    unread: int
    trained: int | None
    unknown: str | None
    learned: int | None
    taught: int
    accuracy: Share
    baselines: dict[str, Beside]
    calibration: Calibration
    length: Length | None
    worst: list[Wrong]
    flags: list[str]

    def json(self) -> dict:
        """All of it, as JSON can hold it."""
        return asdict(self)


def measure(
    data: str,
    form: Format,
    scored: Scored,
    train: Pairs | None = None,
    worst: int = 5,
    trained: Pairs | Refusal | None = None,
) -> Report:
    """The report on pairs that are called `data` and were read by `form`; baselines learn from `train`. `trained`: the
    pairs that the model learned from, or why they are not known.
    """
    apart, pairs = scored.margins, scored.pairs
    lengths = np.array([[side.tokens for side in both] for both in pairs.sides])
    accuracy, sure, long = share(told_right(apart)), calibration(apart), length(scored.rewards, lengths)
    baselines = {"a bag of words": by_words}
    if long is not None:
        baselines = {which_length(pairs, train): by_length, **baselines}
    others = {name: beside(apart, margins(learn, pairs, train)) for name, learn in baselines.items()}
    known = isinstance(trained, Pairs)
    seen, taught = pairs.among(trained) if known else None, 0 if train is None else pairs.among(train)
    return Report(
        data=data,
        form=form.model_dump(mode="json", exclude_defaults=True),
        pairs=len(apart),
        left_out=scored.left_out,
        unread=scored.unread,
        trained=seen,
        unknown=None if known else _why(trained),
        learned=None if train is None else len(train.where),
        taught=taught,
        accuracy=accuracy,
        baselines=others,
        calibration=sure,
        length=long,
        worst=_worst(scored, worst),
        flags=[*overlap(len(apart), seen or 0, taught), *flags(accuracy, others, sure, long)],
    )


def _why(refusal: Refusal | None) -> str:
    return "no run was named" if refusal is None else f"{refusal.must}, but found {refusal.found}"


def _worst(scored: Scored, most: int) -> list[Wrong]:
    """The pairs whose rejected answer is worth most above the chosen one."""
    order = [int(i) for i in np.argsort(scored.margins, kind="stable")[:most] if scored.margins[i] < 0]
    at = scored.pairs
    return [Wrong(at.where[i], *at.sides[i], tuple(scored.rewards[i].tolist())) for i in order]
