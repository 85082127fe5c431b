"""What of a rendered text a person wrote, and what the template: told apart by rendering twice.

A template is a program: it trims, splits, quotes and joins what people wrote. So their text is rendered once as it is
and once under a *veil*, with private characters standing in for those that special tokens are made of. If the two
renderings differ in nothing else, the veiled one shows, character by character, who wrote what; a special token that
holds a stand-in was made up by a person, out of one string or of several, and is broken (`text/tokens/marks.py`).
"""

import re
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

from viva.base.errors import Refusal
from viva.text.tokens.marks import BREAK, CLOSE, OPEN, POOL, pattern

Span = tuple[int, int]


class Veil:
    """Stand-ins for some characters of what was `said`, none of which is in it: for the first character of everything
    that is `hidden`.
    """

    def __init__(self, hidden: re.Pattern, known: re.Pattern, said: Any):
        texts = strings(said)
        first = sorted({found[0][0] for text in texts for found in hidden.finditer(text)})
        taken = {*"".join(texts)}
        free = [char for char in POOL if char not in taken]
        if len(first) > len(free):
            raise Refusal("a conversation must leave noncharacters free", f"{len(free)}", "take U+FDD5 to U+FDEF out")
        self._there = dict(zip(first, free, strict=False))
        self._back = str.maketrans(dict(zip(free, first, strict=False)))
        self._hidden, self._known = hidden, known
        self.said = changed(said, self._over) if first else said

    def _over(self, text: str) -> str:
        return self._hidden.sub(lambda found: self._there[found[0][0]] + found[0][1:], text)

    def lifted(self, seen: str) -> str:
        """What was rendered under the veil, as it is without."""
        return seen.translate(self._back)

    def marked(self, seen: str, spans: list[Span]) -> tuple[str, list[Span]]:
        """What was rendered under the veil as a marked text, in which a special token counts if the template wrote it
        alone; and where in that the spans of it are.
        """
        plain, cuts = self.lifted(seen), self._cuts(seen)
        places = [0, *cuts, len(plain)]
        broken = BREAK.join(plain[start:end] for start, end in pairwise(places))
        moved = lambda place: place + len(BREAK) * bisect_left(cuts, place)  # noqa: E731
        return broken, [(moved(start), moved(end)) for start, end in spans]

    def _cuts(self, seen: str) -> list[int]:
        """Where a special token that a person had a part in must be broken: before that part, or behind its first
        character.
        """
        plain, cuts, at = self.lifted(seen), set(), 0
        while self._back and (found := self._known.search(plain, at)):
            at = found.start() + 1
            own = next((place for place in range(*found.span()) if ord(seen[place]) in self._back), None)
            if own is not None and len(found[0]) == 1:
                must = "a special token must have two characters, or it cannot be told from the same one in a message"
                raise Refusal(must, repr(found[0]), "take it out of the message, or make the token an ordinary one")
            if own is not None:
                cuts.add(max(own, at))
        return sorted(cuts)


def veil(render: Callable[[Any], str], said: Any, specials: list[str]) -> tuple[Veil, str]:
    """A veil under which `render` gives the same but for the stand-ins, and what it gives.

    Every sign that special tokens are made of is veiled or, for a template that looks at signs (to split at </think>,
    for example), whole special tokens alone, in upper and lower case. Refused: a template that looks at those too.
    """
    plain = render(said)
    known, *hiding = _patterns(tuple(specials))
    for hidden in hiding:
        made = Veil(hidden, known, said)
        seen = plain if made.said is said else render(made.said)
        if made.lifted(seen) == plain:
            return made, seen
    held = sorted({found for text in strings(said) for found in known.findall(text)})
    must = "a message must not hold special tokens that the chat template reads as its own"
    raise Refusal(must, ", ".join(held), "take them out of the conversation")


@lru_cache(maxsize=16)
def _patterns(specials: tuple[str, ...]) -> tuple[re.Pattern, re.Pattern, re.Pattern]:
    """Special tokens and marks; the characters they begin and end with, or that are no letters or digits in them; and
    the tokens again, in upper and lower case, with the characters of marks.
    """
    known, signs = pattern(list(specials)), {*BREAK, *OPEN, *CLOSE}
    whole = "|".join([known.pattern, *signs])
    for token in specials:
        signs |= {token[0], token[-1]} | {c for c in token if not (c.isalnum() or c.isspace() or c in "_-")}
    anywhere = re.compile("[" + "".join(map(re.escape, sorted(signs))) + "]")
    return known, anywhere, re.compile(whole, re.IGNORECASE)


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with each string in it changed, the names of fields too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {changed(key, change): changed(item, change) for key, item in value.items()}
    return [changed(item, change) for item in value] if isinstance(value, list | tuple) else value


def strings(value: Any) -> list[str]:
    """Each string in `value` that a veil may cover."""
    found: list[str] = []
    changed(value, lambda text: found.append(text) or text)
    return found
