"""1 where the last number in a reply is the last one in the answer that the data give, else 0; as GSM8K is scored
(Cobbe et al. 2021, https://arxiv.org/abs/2110.14168).
"""

import re
from decimal import Decimal

from viva.align.reply import Reply
from viva.align.reward import Rule
from viva.base.errors import Refusal

NUMBER = re.compile(r"(?<![\d.])-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?")


class Config(Rule):
    """No fields. 1,200 and 1200.0 are one number."""

    def of(self, reply: Reply) -> float:
        right = last_number(reply.prompt.answer)
        if right is None:
            must = f"the answer of document {reply.prompt.number} must hold a number to compare replies with"
            fix = "give rows whose answer ends in one, or use another reward"
            raise Refusal(must, repr(reply.prompt.answer[-80:]), fix)
        return float(last_number(reply.text) == right)


def last_number(text: str) -> Decimal | None:
    """The last number in a text.

    >>> last_number("He pays $1,200.50."), last_number("3-4"), last_number("none")
    (Decimal('1200.50'), Decimal('4'), None)
    """
    found = NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None
