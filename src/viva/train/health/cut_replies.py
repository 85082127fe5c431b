"""Replies that do not come to an end: they are judged without what was to come."""

from typing import ClassVar

from pydantic import Field

from viva.train.health import Base
from viva.train.health._history import History


class Config(Base):
    """`most`: the share of replies that are cut; where it is more than half, most of what is judged is unfinished."""

    reads: ClassVar[tuple[str, ...]] = ("ended",)

    most: float = Field(0.5, gt=0, lt=1)

    @property
    def healthy(self) -> str:
        return f"at most {self.most:.0%} of them cut"

    def trouble(self, history: History) -> str | None:
        if (cut := 1 - history.last("ended", self.window)) <= self.most:
            return None
        return (
            f"{cut:.0%} of the replies are cut over the last {self.window} rounds, above {self.most:.0%}; raise "
            "rollout.max_new_tokens, begin from a model that was tuned to end its answers, or reward short ones"
        )
