"""- slope |n - target| for a reply of n tokens, what ended it included."""

from pydantic import Field

from viva.align.reply import Reply
from viva.align.reward import Rule


class Config(Rule):
    """target: tokens, at which the reward is 0, its most; slope: what each token more or less costs."""

    target: int = Field(ge=0)
    slope: float = Field(0.01, gt=0)

    def of(self, reply: Reply) -> float:
        return -self.slope * abs(len(reply.ids) - self.target)
