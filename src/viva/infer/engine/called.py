"""The grammar of a reply that calls functions: what the chat template writes, and arguments of each function's schema;
in llguidance's form of Lark (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from viva.infer.engine.grammar import JSON
from viva.text.talk.call_form import Hole, Written

ID = "/[a-zA-Z0-9]{9}/"

Function = tuple[str, dict[str, Any]]


def lark(written: Written, functions: Sequence[Function], several: bool, specials: Mapping[str, int]) -> str:
    """A call of one of the functions, each by its name and the JSON schema of its arguments; or of `several`, where a
    turn of the template has more than one. The template alone writes special tokens.
    """
    begin, between, end = (_template(text or "", specials) for text in (written.begin, written.between, written.end))
    more = f"({between} call)*" if several and written.between is not None else ""
    rules = [f"start: {begin} call {more} {end}"]
    rules.append(f"call: {' | '.join(f'call_{place}' for place in range(len(functions)))}")
    for place, (name, schema) in enumerate(functions):
        spelled = json.dumps(name, ensure_ascii=False)[1:-1]
        holes = {Hole.NAME: json.dumps(spelled), Hole.ARGUMENTS: f"arguments_{place}", Hole.ID: ID}
        pieces = [holes[piece] if isinstance(piece, Hole) else _template(piece, specials) for piece in written.call]
        rules.append(f"call_{place}: {' '.join(pieces)}")
        told = schema | {"type": "object", "x-guidance": JSON}
        rules.append(f"arguments_{place}: %json {json.dumps(told)}")
    return "\n".join(rules)


def _template(text: str, specials: Mapping[str, int]) -> str:
    """A text of the template: special tokens by their numbers, the rest in quotes."""
    words = "|".join(map(re.escape, sorted(specials, key=len, reverse=True)))
    pieces = re.split(f"({words})", text) if words else [text]
    return " ".join(f"<[{specials[piece]}]>" if piece in specials else json.dumps(piece) for piece in pieces if piece)
