"""1 where a regular expression is found in a reply, or is not; else 0."""

import regex
from pydantic import Field, field_validator

from viva.align.reply import Reply
from viva.align.reward import Rule
from viva.base.errors import Refusal


class Config(Rule):
    """regex: searched for in the reply (`^` and `$` are its ends); absent: whether it must not be there. Looking may
    take `seconds`, for an expression can be made that takes forever.
    """

    regex: str = Field(min_length=1)
    absent: bool = False
    seconds: float = Field(1.0, gt=0)

    @field_validator("regex")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        try:
            regex.compile(value)
        except regex.error as error:
            raise ValueError(f"must be a regular expression: {error}") from None
        return value

    def of(self, reply: Reply) -> float:
        try:
            found = regex.search(self.regex, reply.text, timeout=self.seconds) is not None
        except TimeoutError:
            must = f"a pattern must be looked for in {self.seconds:g} s"
            fix = "write one without nested repetition, or raise reward.seconds"
            raise Refusal(must, f"{self.regex!r} still at work on {reply.text[:80]!r}", fix) from None
        return float(found != self.absent)
