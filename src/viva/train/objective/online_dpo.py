"""DPO on the policy's own replies: of those to a prompt the best is preferred to the worst (Guo et al. 2024,
https://arxiv.org/abs/2402.04792, algorithm 1).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from pydantic import model_validator

from viva.align.preference import sigmoid
from viva.base.choice import Choice
from viva.train.batch import Batch
from viva.train.experience import Lessons, Policy, Round
from viva.train.objective import Ground, Objective, dpo
from viva.train.objective._online import Online
from viva.train.replies import in_parts


class Config(Online):
    """`loss` and `reference`: as of the objective dpo. Prompts whose replies are all worth the same teach nothing."""

    loss: Choice("viva.align.preference", usual="sigmoid") = sigmoid.Config()
    reference: str | None = dpo.START

    @model_validator(mode="after")
    def _two_at_least(self) -> Self:
        if self.rollout.replies < 2:
            raise ValueError("rollout.replies must be 2 at least, for one reply to be preferred to another")
        return self

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        def lessons(found: Round) -> Iterator[list[Batch]]:
            n = found.rewards.shape[1]
            pairs = [
                found.replies[prompt * n + place]
                for prompt, rewards in enumerate(found.rewards)
                if rewards.max() > rewards.min()
                for place in (int(rewards.argmax()), int(rewards.argmin()))
            ]
            if pairs:
                size = policy.size // 2 * 2  # no pair is parted
                yield [replace(part, answers=len(part.lengths[0]) // 2) for part in in_parts(pairs, size, policy.pad)]

        return lessons

    def build(self, ground: Ground | None = None) -> Objective:
        """The loss of the pairs, with what dpo measures of them."""
        return dpo.Config(loss=self.loss, reference=self.reference).build(ground)
