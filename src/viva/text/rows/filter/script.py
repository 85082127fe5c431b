"""Rows in other scripts than those that are wanted: a coarse sign of the language that needs no model."""

import unicodedata
from functools import cache

from pydantic import Field

from viva.base.errors import Refusal, nearest
from viva.text.rows.row import Row
from viva.text.rows.sift import Filter, Judge

LETTERS = 0x20000  # behind it are Chinese characters alone


class Config(Filter):
    """scripts: as the Unicode names of their letters begin: latin, cyrillic, greek, arabic, cjk (Chinese characters),
    hiragana, katakana, hangul, devanagari, thai and the like. share: the least part of a row's letters that must be in
    them. Rows without a letter stay.
    """

    scripts: tuple[str, ...] = Field(min_length=1)
    share: float = Field(0.5, gt=0, le=1)

    def judge(self) -> Judge:
        for name in self.scripts:
            if name not in _known():
                fix = nearest(name, sorted(_known()))
                raise Refusal("filter.scripts must be known", repr(name), fix)

        def foreign(row: Row) -> str | None:
            letters = [script(letter) for letter in self.text(row) if letter.isalpha()]
            inside = sum(name in self.scripts for name in letters)
            if not letters or inside >= self.share * len(letters):
                return None
            return f"{inside / len(letters):.1%} of its letters"

        return foreign


@cache
def script(letter: str) -> str:
    """The script of a letter, as its Unicode name begins."""
    return unicodedata.name(letter, "none").partition(" ")[0].partition("-")[0].lower()


@cache
def _known() -> frozenset[str]:
    letters = map(chr, range(LETTERS))
    return frozenset(script.__wrapped__(letter) for letter in letters if letter.isalpha())
