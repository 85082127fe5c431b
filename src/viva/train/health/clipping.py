"""Updates that lead beyond the ratios they are made for."""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """`most`: the share of tokens whose ratio is clipped, which have no gradient. It is 0 with one update a round and
    some hundredths to 0.2 with several; above 0.3 the epochs only reach further from what was drawn.
    """

    reads: ClassVar[tuple[str, ...]] = ("clip_fraction",)

    most: float = Field(0.3, gt=0, lt=1)

    @property
    def healthy(self) -> str:
        return f"at most {self.most:.0%} of tokens clipped"

    def trouble(self, history: History) -> str | None:
        if (clipped := history.last("clip_fraction", self.window)) <= self.most:
            return None
        return (
            f"{clipped:.0%} of the tokens are clipped over the last {self.window} rounds, above {self.most:.0%}; lower "
            "train.lr, or take fewer epochs and minibatches"
        )
