"""A policy that does not leave its reference: nothing is learned."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Later
from viva.train.health._history import History


class Config(Later):
    """`least`: nats a token, `after` so many rounds; with k3, 1e-5 is a change of log-probabilities by 0.0045, hardly
    above what bfloat16 rounds away.
    """

    reads: ClassVar[tuple[str, ...]] = ("kl",)

    least: float = Field(1e-5, ge=0)
    after: PositiveInt = 30

    @property
    def healthy(self) -> str:
        return f"KL at least {self.least:g} nats a token after {self.after} rounds"

    def trouble(self, history: History) -> str | None:
        if (kl := abs(history.last("kl", self.window))) >= self.least:
            return None
        return (
            f"the policy has not moved: its divergence from the reference is {kl:.2g} nats a token after "
            f"{len(history['kl'])} rounds, below {self.least:g}; raise train.lr, or lower beta"
        )
