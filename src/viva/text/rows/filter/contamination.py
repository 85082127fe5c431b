"""Rows that hold text by which a model is to be evaluated: a piece of 13 words in common (Brown et al. 2020,
https://arxiv.org/abs/2005.14165, appendix C).
"""

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal

import regex
from pydantic import Field

from viva.base.errors import Notice
from viva.text.rows.corpus import files
from viva.text.rows.row import Row, strings
from viva.text.rows.sift import Filter, Judge, Source

CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# A character of Chinese or Japanese, or else letters and digits with the marks on them: vowels of Hindi, accents
WORD = regex.compile(rf"[{CJK}]|[\p{{L}}\p{{N}}_--[{CJK}]][\w\p{{N}}\p{{M}}--[{CJK}]]*", regex.V1)
LEAST = 8  # words of a text that is looked for, in that appendix


class Config(Filter):
    """against: files, folders or globs with the evaluation's text, as the corpus `files` reads them. size: of the
    piece, in words, whatever stands between them and whatever their case; a Chinese or Japanese character is a word. A
    text of fewer words, but at least 8, is looked for whole. then: what becomes of a row with such a piece: `refuse`,
    with the count of all, or `drop`.
    """

    against: tuple[str, ...] = Field(min_length=1)
    size: int = Field(13, ge=LEAST)
    then: Literal["refuse", "drop"] = "refuse"

    @property
    def refuses(self) -> bool:
        return self.then == "refuse"

    def judge(self) -> Judge:
        wanted = self._wanted()

        def contaminated(row: Row) -> str | None:
            words = found_words(self.text(row))
            for size, hashes in wanted.items():
                for piece in pieces(words, size):
                    if hash(piece) in hashes:
                        return f"evaluated: {piece!r}"
            return None

        return contaminated

    def digest(self, sources: Sequence[Source]) -> list:
        return [super().digest(sources), [corpus.digest() for corpus in self._corpora()]]

    def _corpora(self) -> list[files.Config]:
        return [files.Config(path=path) for path in self.against]

    def _wanted(self) -> dict[int, set[int]]:
        """The hashes of the pieces to look for, by their number of words."""
        wanted: dict[int, set[int]] = {}
        rows = short = 0
        for row in (row for corpus in self._corpora() for row in corpus.rows()):
            texts = [found_words(text) for text in strings(row.data)]
            long = [words for words in texts if len(words) >= LEAST]
            for words in long:
                size = min(self.size, len(words))
                wanted.setdefault(size, set()).update(map(hash, pieces(words, size)))
            rows, short = rows + 1, short + (not long)
        if short:
            said = f"{short:,} of {rows:,} rows of {', '.join(self.against)} have no text of {LEAST} words"
            warnings.warn(Notice(f"{said}, and are not looked for in the training data"), stacklevel=2)
        return wanted


def found_words(text: str) -> list[str]:
    """The words of a text without what stands between them, in small letters, however their accents are encoded (The
    Unicode Standard, definition D145).
    """
    folded = unicodedata.normalize("NFD", text).casefold()
    return WORD.findall(unicodedata.normalize("NFC", folded))


def pieces(words: list[str], size: int) -> Iterator[str]:
    """Each stretch of `size` words."""
    return (" ".join(words[at : at + size]) for at in range(len(words) - size + 1))
