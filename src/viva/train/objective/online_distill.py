"""On-policy distillation: the student writes, and learns how likely the teacher finds each token that might have stood
there (GKD, Agarwal et al. 2023, https://arxiv.org/abs/2306.13649, algorithm 1 with only the student's own texts).
"""

from collections.abc import Iterator
from typing import ClassVar

from viva.train.batch import Batch
from viva.train.experience import Lessons, Policy, Round
from viva.train.objective import Base, Ground, Objective, distill
from viva.train.objective._online import Online
from viva.train.objective.distill import Logits
from viva.train.replies import in_parts


class Config(Online):
    """`teacher`, a folder, a run or a model of the hub, stays as it is; it must have the tokenizer of the run.
    `logits`: how far the model is from it at each token of its replies; by default the reverse KL divergence, under
    which a student that cannot say all that its teacher does keeps to what that finds likely. `reward` measures:
    nothing is learned of it.
    """

    troubles: ClassVar[tuple[str, ...]] = (*Base.troubles, "reply_growth", "cut_replies", "sampler_gap")

    teacher: str
    logits: Logits = Logits(weight=1.0, temperature=1.0, beta=1.0)

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        def lessons(found: Round) -> Iterator[list[Batch]]:
            yield list(in_parts(found.replies, policy.size, policy.pad))

        return lessons

    def build(self, ground: Ground | None = None) -> Objective:
        """The divergence at each token of the replies; as `hard` the surprise of the student at its own."""
        return distill.Config(teacher=self.teacher, logits=self.logits, hard=0.0).build(ground)
