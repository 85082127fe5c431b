"""Best of n, then imitation: of the replies to a prompt the one that is worth most is learned as an answer (rejection
sampling fine-tuning; its rounds are RAFT, Dong et al. 2023, https://arxiv.org/abs/2304.06767, algorithm 1).
"""

import math
from collections.abc import Iterator
from itertools import repeat

from pydantic import Field

from viva.train.batch import Batch
from viva.train.experience import Lessons, Policy, Round
from viva.train.objective import Ground, Objective, causal
from viva.train.objective._online import Online
from viva.train.replies import in_parts

ROUNDING = 1e-9  # by which a sum may miss what it is: 0.7 + 0.2 is a little less than 0.9


class Config(Online):
    """`least`: the reward that a reply must have to be learned; left out, the best of each prompt is, however bad. A
    round is learned in `epochs` updates, all of what is kept in each: with enough of them the policy comes to the best
    of n of what it was, so k rounds of n replies come to the best of n^k of the start's.
    """

    least: float | None = None
    epochs: int = Field(1, ge=1)

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        def lessons(found: Round) -> Iterator[list[Batch]]:
            n = found.rewards.shape[1]
            best, places = found.rewards.max(1)
            kept = [
                found.replies[prompt * n + place]
                for prompt, (reward, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True))
                if self.least is None or self._enough(reward)
            ]
            if kept:
                batches = list(in_parts(kept, policy.size, policy.pad))
                yield from repeat(batches, self.epochs)

        return lessons

    def _enough(self, reward: float) -> bool:
        return reward >= self.least or math.isclose(reward, self.least, rel_tol=ROUNDING, abs_tol=ROUNDING)

    def build(self, ground: Ground | None = None) -> Objective:
        """The cross-entropy of the replies that are kept."""
        return causal.Config().build(ground)
