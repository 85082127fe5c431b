"""What objectives share by which a policy learns from its own replies."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from pydantic import model_validator
from torch import Tensor

from viva.align.reply import Reply
from viva.align.reward import Setting
from viva.align.rollout import Rollout
from viva.base.choice import Choice
from viva.model import adapt
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint
from viva.train.data import Data
from viva.train.experience import Experience, Lessons, Policy, still
from viva.train.objective import Base, Drawn, Ground, padding, require_end
from viva.train.objective._frozen import START, Frozen
from viva.train.precision import Precision
from viva.train.prompts import Prompts

Logs = Callable[[Sequence[Reply]], list[Tensor]]


class Online(Base):
    """`reward`: what a reply is worth; `rollout`: how replies are drawn. `truth`: a second judge that is only
    measured, of each round's replies and of held-out ones, and never learned from: where it falls while the reward
    rises, the policy has found what the reward does not see.

    A document is asked up to the last stretch of it that would be learned; that stretch is the answer that a reward
    may compare with. A step is a round: `train.batch` times `train.accumulate` prompts, and the updates made of their
    replies.
    """

    troubles: ClassVar[tuple[str, ...]] = (
        "gradient_growth",
        "reward_stuck",
        "reward_hacking",
        "equal_groups",
        "entropy_collapse",
        "kl_blow_up",
        "kl_collapse",
        "clipping",
        "useless_critic",
        "reply_growth",
        "cut_replies",
        "sampler_gap",
    )

    reward: Choice("viva.align.reward")
    rollout: Rollout = Rollout()
    truth: Choice("viva.align.reward") | None = None

    @model_validator(mode="after")
    def _two_judges(self) -> Self:
        if self.truth == self.reward:
            raise ValueError("truth must be another judge than reward, or it tells nothing that the reward does not")
        return self

    def reading(self, tokenizer: Tokenizer) -> Prompts:
        require_end(tokenizer)
        return Prompts(padding(tokenizer), self.rollout.max_new_tokens)

    def drawn(self, train: Data, valid: Data | None, ground: Ground, precision: Precision) -> Drawn:
        size = train.batching.batch * self.rollout.replies
        policy = Policy(ground.model, ground.tokenizer, precision, self.rollout, size)
        setting = Setting(ground.tokenizer, precision.device, checkpoint.located, ground.beside)
        judge, truth = self.reward.build(setting), self.truth and self.truth.build(setting)
        lessons = self.lessons(policy, ground)
        return tuple(prompts and Experience(prompts, policy, judge, lessons, truth) for prompts in (train, valid))

    def lessons(self, policy: Policy, ground: Ground) -> Lessons:
        """The function that makes of a round the micro-batches of its updates."""
        raise NotImplementedError


def by_reference(name: str, policy: Policy, ground: Ground) -> Logs:
    """The log-probabilities of replies by the model that `name` means; at the start of one that learns by an adapter,
    by itself without it.
    """
    if name == START and adapt.adapted(ground.model):

        def without(replies: Sequence[Reply]) -> list[Tensor]:
            with still(ground.model), adapt.without(ground.model):
                return policy.logs(replies)

        return without
    frozen = Frozen(name, ground, "the reference")
    return lambda replies: policy.logs(replies, frozen.model)
