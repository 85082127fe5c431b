"""Chosen answers that become less likely while the margin grows: probability goes to answers that nobody wrote
(likelihood displacement, Razin et al. 2024, https://arxiv.org/abs/2410.08847; Pal et al. 2024,
https://arxiv.org/abs/2402.13228).
"""

from typing import ClassVar

from pydantic import Field, PositiveInt

from viva.train.health import Base
from viva.train.health._history import History

ERRORS = 3  # standard errors that a fall must be above, since each batch holds other answers


class Config(Base):
    """`share`: by how much of its size at the start the log-probability of chosen answers may fall; a few hundredths
    are common, and a quarter makes an answer of 100 nats e^25 times less likely.
    """

    reads: ClassVar[tuple[str, ...]] = ("chosen_log_prob", "margin")

    window: PositiveInt = 10
    share: float = Field(0.25, gt=0)

    @property
    def needs(self) -> int:
        return 2 * self.window

    @property
    def healthy(self) -> str:
        return f"log-probability of chosen answers down by at most {self.share:.0%} while the margin grows"

    def trouble(self, history: History) -> str | None:
        name, window = "chosen_log_prob", self.window
        first, last = history.first(name, window), history.last(name, window)
        grown = history.last("margin", window) > history.first("margin", window)
        if not grown or first - last <= max(self.share * abs(first), ERRORS * history.error(name, window)):
            return None
        return (
            f"the log-probability of chosen answers fell from {first:.4g} to {last:.4g} nats, by more than "
            f"{self.share:.0%}, while the margin grew: the model forgets how to answer; raise beta, lower train.lr, or "
            "use the loss orpo"
        )
