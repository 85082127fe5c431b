"""DPO on the policy's own replies: of those to a prompt the best is preferred to the worst (Guo et al. 2024,
https://arxiv.org/abs/2402.04792, algorithm 1).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, Self

from pydantic import model_validator

from viva.align.preference import sigmoid
from viva.base.choice import Choice
from viva.base.seed import stream
from viva.train.batch import Batch
from viva.train.experience import Lessons, Policy, Round
from viva.train.objective import Ground, Objective, dpo
from viva.train.objective._online import Online
from viva.train.replies import in_parts


class Config(Online):
    """`loss`: what is learned of a pair of replies. `reference`: the model that is compared with, a folder, a run or an
    id of the hub; "start", what the run began from; or null, as if all replies were as likely to it. The `judge`
    prefers the best reply to the worst (`best`); prompts whose replies are all worth the same teach nothing then. Or
    replies are taken two by two, and of rewards r_1 and r_2 the first is preferred with the probability s(r_1 - r_2), s
    the logistic function (`bradley_terry`; Rafailov et al. 2023, equation 1): only so is the best policy of the loss
    `sigmoid` p_ref exp(r / beta) / Z; under the other judge it is to give the best reply alone. Of two equal replies,
    which a reward model may tell apart by its rounding, neither is preferred.
    """

    loss: Choice("viva.align.preference", usual="sigmoid") = sigmoid.Config()
    reference: str | None = dpo.START
    judge: Literal["best", "bradley_terry"] = "best"

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.rollout.replies < 2:
            raise ValueError("rollout.replies must be 2 at least, for one reply to be preferred to another")
        if self.judge == "bradley_terry" and self.rollout.replies % 2:
            raise ValueError("rollout.replies must be even where the judge is bradley_terry, which takes two by two")
        return self

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        def lessons(found: Round) -> Iterator[list[Batch]]:
            judge = _best_and_worst if self.judge == "best" else _two_by_two
            both = ([found.replies[number] for number in pair] for pair in judge(found))
            pairs = [reply for one, other in both if one.ids != other.ids for reply in (one, other)]
            if pairs:
                size = policy.size // 2 * 2  # no pair is parted
                yield [replace(part, answers=len(part.lengths[0]) // 2) for part in in_parts(pairs, size, policy.pad)]

        return lessons

    def build(self, ground: Ground | None = None) -> Objective:
        """The loss of the pairs, with what dpo measures of them."""
        return dpo.Config(loss=self.loss, reference=self.reference).build(ground)


def _best_and_worst(found: Round) -> list[tuple[int, int]]:
    """The numbers of the two replies of each pair, the preferred first."""
    n = found.rewards.shape[1]
    return [
        (prompt * n + int(rewards.argmax()), prompt * n + int(rewards.argmin()))
        for prompt, rewards in enumerate(found.rewards)
        if rewards.max() > rewards.min()
    ]


def _two_by_two(found: Round) -> list[tuple[int, int]]:
    """The same, of the first and the second reply to a prompt, the third and the fourth, and so on."""
    draw, n = stream(found.seed, "judge"), found.rewards.shape[1]
    pairs = []
    for prompt, rewards in enumerate(found.rewards):
        for at in range(0, n - 1, 2):
            is_first = draw.random() < (rewards[at] - rewards[at + 1]).sigmoid().item()
            one, other = (prompt * n + place for place in ((at, at + 1) if is_first else (at + 1, at)))
            pairs.append((one, other))
    return pairs
