"""1 where a reply is JSON, else 0."""

import json

from viva.align.reply import Reply
from viva.align.reward import Rule


class Config(Rule):
    """keys: of an object that it must then be, with these among its keys; left out, any value will do. NaN and
    infinity are no JSON (RFC 8259).
    """

    keys: tuple[str, ...] = ()

    def of(self, reply: Reply) -> float:
        try:
            found = json.loads(reply.text, parse_constant=_no_json)
        except (ValueError, RecursionError):
            return 0.0
        return float(not self.keys or (isinstance(found, dict) and found.keys() >= set(self.keys)))


def _no_json(constant: str) -> None:
    raise ValueError(constant)
