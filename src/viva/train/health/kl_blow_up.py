"""A policy that leaves its reference behind."""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """`most`: nats a token; at 1 the policy's tokens are on average e times as likely to it as to the reference.
    Replies of a few tokens, all of them free to be chosen, may come near it in good health.
    """

    reads: ClassVar[tuple[str, ...]] = ("kl",)

    most: float = Field(1.0, gt=0)

    @property
    def healthy(self) -> str:
        return f"KL at most {self.most:g} nats a token"

    def trouble(self, history: History) -> str | None:
        if (kl := history.last("kl", self.window)) <= self.most:
            return None
        return (
            f"the divergence from the reference is {kl:.3g} nats a token over the last {self.window} rounds, above "
            f"{self.most:g}; raise beta, lower train.lr, or stop sooner"
        )
