"""What of a rendered text a person wrote, and what the template: told apart by rendering twice.

A template is a program: it trims, splits, quotes and joins what people wrote. So their text is rendered once as it is
and once under a *veil*, with private characters standing in for those that special tokens are made of. If the two
renderings differ in nothing else, the veiled one shows, character by character, who wrote what; a special token that
holds a stand-in was made up by a person, out of one string or of several, and is broken (`text/marks.py`).
"""

import re
from collections.abc import Callable
from typing import Any

from viva.base.errors import Refusal
from viva.text.marks import BREAK, CLOSE, OPEN, pattern

# Unicode noncharacters that are no marks: what stands in for a character while a template runs.
POOL = [chr(code) for code in (*range(0xFDD5, 0xFDF0), *(plane << 16 | 0xFFFE for plane in range(17)))]
PRIVATE = "".join([*POOL, *BREAK, *OPEN, *CLOSE])


def marked(render: Callable[[Any], str], said: Any, specials: list[str]) -> str:
    """`render(said)` as a marked text, in which a special token counts if the template wrote it.

    Every sign that special tokens are made of is veiled or, for a template that looks at signs (to split at </think>,
    for example), whole special tokens alone, in upper and lower case. Refused: a template that looks at those too.
    """
    plain, known = render(said), pattern(specials)
    for hidden in (_signs(known, specials), re.compile(known.pattern, re.IGNORECASE)):
        veil = _Veil(hidden, said)
        seen = render(_changed(said, veil.over)) if veil.back else plain
        if seen.translate(veil.back) == plain:
            return _broken(seen, veil.back, known)
    held = sorted({found for text in _strings(said) for found in known.findall(text)})
    must = "a message must not hold special tokens that the chat template reads as its own"
    raise Refusal(must, ", ".join(held), "take them out of the conversation")


class Role(str):
    """Who speaks: checked against the roles that a template knows, so no veil covers it."""


class _Veil:
    """Stand-ins, one for each character to hide that `said` holds, none of which it holds itself."""

    def __init__(self, hidden: re.Pattern, said: Any):
        texts = list(_strings(said))
        self.hidden, everything = hidden, {*"".join(texts)}
        first = sorted({found[0][0] for text in texts for found in hidden.finditer(text)})
        free = [char for char in POOL if char not in everything]
        if len(first) > len(free):
            raise Refusal("a conversation must leave noncharacters free", f"{len(free)}", "take U+FDD5 to U+FDEF out")
        self.there = str.maketrans(dict(zip(first, free, strict=False)))
        self.back = str.maketrans(dict(zip(free, first, strict=False)))

    def over(self, text: str) -> str:
        """`text` with a stand-in for the first character of everything to hide."""
        return self.hidden.sub(lambda found: found[0][0].translate(self.there) + found[0][1:], text)


def _signs(known: re.Pattern, specials: list[str]) -> re.Pattern:
    """The characters that are no letters or digits in special tokens and marks, and those they begin and end with."""
    signs = {*BREAK, *OPEN, *CLOSE}
    for token in specials:
        signs |= {
            token[0],
            token[-1],
            *(char for char in token if not (char.isalnum() or char.isspace() or char in "_-")),
        }
    return re.compile("[" + "".join(map(re.escape, sorted(signs))) + "]")


def _broken(seen: str, back: dict, known: re.Pattern) -> str:
    """What was seen under a veil, lifted, with a BREAK in each special token that a person had a part in."""
    plain, cuts, at = seen.translate(back), {0}, 0
    while back and (found := known.search(plain, at)):
        at = found.start() + 1
        own = next((place for place in range(*found.span()) if ord(seen[place]) in back), None)
        if own is not None and len(found[0]) == 1:
            must = "a special token must have two characters, or it cannot be told from the same letter in a message"
            raise Refusal(must, repr(found[0]), "take the letter out, or make the token an ordinary one")
        if own is not None:
            cuts.add(max(own, at))
    places = sorted(cuts)
    return BREAK.join(plain[start:end] for start, end in zip(places, [*places[1:], len(plain)], strict=True))


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with each string in it changed, the names of fields too, but no Role."""
    if isinstance(value, str):
        return value if isinstance(value, Role) else change(value)
    if isinstance(value, dict):
        return {_changed(key, change): _changed(item, change) for key, item in value.items()}
    return [_changed(item, change) for item in value] if isinstance(value, list | tuple) else value


def _strings(value: Any) -> list[str]:
    found: list[str] = []
    _changed(value, lambda text: found.append(text) or text)
    return found
