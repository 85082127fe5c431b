"""1 where a reply is what Python's interpreter says of the expression that was asked about, else 0."""

import re

from viva.align.reply import Reply
from viva.align.reward import Rule
from viva.base.errors import Refusal
from viva.text.rows.expression import verify

QUOTED = re.compile(r"`([^`]+)`")


class Config(Rule):
    """No fields. The expression is what stands last between backticks in the prompt, as in the corpus `tasks`; only the
    closed grammar of `text/rows/expression.py` is ever run. Space around the reply does not matter.
    """

    def of(self, reply: Reply) -> float:
        found = QUOTED.findall(reply.prompt.text)
        if not found:
            must = "a prompt must hold an expression between backticks for the interpreter to judge its replies"
            raise Refusal(must, repr(reply.prompt.text[-80:]), "use another reward, or the corpus tasks")
        return float(verify(found[-1], reply.text))
