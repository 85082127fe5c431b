"""Marks inside a text that is about to be encoded: they are seen by the encoder and never reach the ids.

A *marked* text mixes what a template wrote, whose special tokens count, with what a person wrote, whose special
tokens are plain characters. `shield` puts BREAK after the first character of every special-token string of the
latter, so that the encoder does not recognise it; the encoder's normaliser then deletes each BREAK, in one pass,
and the ids are those of the plain text. A BREAK that a person wrote is itself broken, and so comes back whole.
"""

import re

# Unicode noncharacters (U+FDD0..U+FDEF): reserved for a program's own use, never assigned.
BREAK = "\ufdd0\ufdd1"
OPEN = "\ufdd2\ufdd3"  # around what a template's {% generation %} block wrote
CLOSE = "\ufdd2\ufdd4"
# Others, that are no marks: what stands in for a character while a template runs (text/talk/veil.py).
POOL = [chr(code) for code in (*range(0xFDD5, 0xFDF0), *(plane << 16 | 0xFFFE for plane in range(17)))]
PRIVATE = "".join([*POOL, *BREAK, *OPEN, *CLOSE])


def pattern(specials: list[str]) -> re.Pattern:
    """What must not be recognised in a person's text: special tokens, the longest first, and the marks."""
    words = sorted([*specials, BREAK, OPEN, CLOSE], key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words)))


def shield(text: str, marked: re.Pattern) -> str:
    """`text` with a BREAK inside each match of `marked`."""
    return marked.sub(lambda found: found[0][0] + BREAK + found[0][1:], text)


def unshield(text: str) -> str:
    """The text a reader sees: every BREAK deleted, as the encoder deletes it."""
    return text.replace(BREAK, "")
