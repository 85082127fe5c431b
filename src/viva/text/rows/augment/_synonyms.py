"""A table of words that mean the same."""

import re
from pathlib import Path
from random import Random

from viva.base.errors import Refusal

EDGES = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)  # what stands around a word


def read(table: str) -> list[list[str]]:
    """The sets of synonyms in a file, a line each; refused where a line has fewer than two."""
    path = Path(table)
    if not path.is_file():
        fix = "give a text file with synonyms in each line, set apart by tabs"
        raise Refusal("the table of synonyms must be a file", table, fix)
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = [word.strip() for word in line.split("\t") if word.strip()]
        if len(set(words)) == 1:
            raise Refusal(
                f"{table}:{number} must have two words that mean the same", repr(line), "set them apart by a tab"
            )
        found += [words] if words else []
    if not found:
        raise Refusal(
            "the table of synonyms must have some", f"{table} without any", "write a line for each set of them"
        )
    return found


class Synonyms:
    """Those of a table; a word is found whatever its case, and what punctuation stands around it."""

    def __init__(self, table: str):
        self.sets: dict[str, list[str]] = {}
        for words in read(table):
            for word in words:
                self.sets.setdefault(word.lower(), []).extend(other for other in words if other != word)

    def of(self, word: str) -> list[str]:
        """The synonyms of a word, none where the table has none."""
        return self.sets.get(EDGES.fullmatch(word)[2].lower(), [])

    def drawn(self, word: str, random: Random) -> str:
        """One of them in the place of the word, between the same punctuation."""
        before, _, behind = EDGES.fullmatch(word).groups()
        return f"{before}{random.choice(self.of(word))}{behind}"
