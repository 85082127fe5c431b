"""A sampler that is not the policy that is trained (Yao et al. 2025, "Your efficient RL framework secretly brings you
off-policy RL training").
"""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """`most`: nats, between the two log-probabilities of a token, at the token of a round where it is largest. In fp32
    it is some millionths, in bf16 some tenths; at 0.5 a ratio would be 1.65, beyond any clip.
    """

    reads: ClassVar[tuple[str, ...]] = ("sampler_gap",)

    most: float = Field(0.5, gt=0)

    @property
    def healthy(self) -> str:
        return f"sampler and trainer within {self.most:g} nats"

    def trouble(self, history: History) -> str | None:
        if (gap := history.last("sampler_gap", self.window)) <= self.most:
            return None
        return (
            f"sampler and trainer differ by {gap:.3g} nats at a token over the last {self.window} rounds, above "
            f"{self.most:g}: what is learned is not what was drawn; train in fp32, where "
            "a gap that stays is a fault of the model's cache"
        )
