"""What a reply is worth, one kind a file.

`Config.build(setting)` gives a `Judge`: a number for each of some replies, which see the prompt, the answer that the
data give, and the reply itself. A rule is a `Rule`, which looks at one reply at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from viva.align.reply import Reply
from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model import hub
from viva.text.tokens.tokenizer import Tokenizer

Judge = Callable[[Sequence[Reply]], list[float]]
MOST = 1e9  # of either sign: the squares of gradients of a larger reward, summed, overflow fp32


@dataclass(frozen=True)
class Setting:
    """Where rewards are given: the policy's tokenizer, the device it is on, and what makes of a name the folder of a
    model; a run's best checkpoint is for training to find. `beside`: what gives the tensors of each model that a judge
    keeps in memory.
    """

    tokenizer: Tokenizer
    device: str = "cpu"
    located: Callable[[str], Path] = hub.located
    beside: list[Callable[[], Sequence[Tensor]]] = field(default_factory=list)


class Base(Config):
    """The base of each file's Config."""

    def build(self, setting: Setting) -> Judge:
        """The function that scores replies."""
        raise NotImplementedError


class Rule(Base):
    """A reward that is a function of the reply alone."""

    def of(self, reply: Reply) -> float:
        """Its worth."""
        raise NotImplementedError

    def build(self, setting: Setting) -> Judge:
        return lambda replies: [self.of(reply) for reply in replies]


def judged(judge: Judge, replies: Sequence[Reply]) -> list[float]:
    """The reward of each reply; one that is not finite, or beyond MOST, is refused."""
    rewards = judge(replies)
    for reply, reward in zip(replies, rewards, strict=True):
        if not abs(reward) <= MOST:  # nor is NaN
            must, found = f"a reward must be a finite number from -{MOST:g} to {MOST:g}", f"{reward} for the reply"
            found += f" {reply.text[:80]!r} to {reply.prompt.text[-80:]!r}"
            raise Refusal(must, found, "mend or scale what gives it: nothing is learned from it")
    return rewards
