"""Rows whose text is nearly that of another row before: their sets of shingles, pieces of some characters or words,
resemble each other (Broder 1997, "On the resemblance and containment of documents").

The resemblance |A and B| / |A or B| is estimated by MinHash, and candidates are found by locality-sensitive hashing
(Indyk and Motwani 1998), both by the library datasketch.
"""

import zlib
from typing import Any, Literal

from pydantic import Field

from viva.base.errors import Refusal
from viva.text.rows.row import Row
from viva.text.rows.sift import Filter, Judge

WEIGHTS = (0.1, 0.9)  # of false candidates, which the estimate puts right, and of missed ones, which nothing does


class Config(Filter):
    """threshold: the resemblance from which on a row is left out; size: of a shingle, in `unit`s. Chinese, which has no
    spaces, has no words here. permutations: hashes of a row, of which the estimate's standard error is
    sqrt(J (1 - J) / permutations). Letters of either case and spaces of any kind are alike. The first of near
    duplicates stays. About 10 KB a row that stays are remembered. Needs the extra `filters`.
    """

    threshold: float = Field(0.8, gt=0, le=0.95)  # nearer to 1 datasketch finds no two bands
    unit: Literal["characters", "words"] = "characters"
    size: int = Field(9, ge=1)
    permutations: int = Field(128, ge=16)

    def judge(self) -> Judge:
        try:
            from datasketch import LeanMinHash, MinHash, MinHashLSH
        except ImportError as error:
            fix = "pip install 'viva[filters]'"
            raise Refusal("the filter near_duplicates must have the library datasketch", error, fix) from None
        index = MinHashLSH(threshold=self.threshold, num_perm=self.permutations, weights=WEIGHTS)
        empty = MinHash(self.permutations, hashfunc=zlib.crc32)
        kept: list[tuple[Any, str]] = []  # the hashes of each row, and its place

        def near_duplicate(row: Row) -> str | None:
            shingles = self.shingles(self.text(row))
            if not shingles:
                return None
            made = empty.copy()
            made.update_batch([shingle.encode(errors="surrogatepass") for shingle in shingles])
            hashes = LeanMinHash(made)
            resemblance, number = max(((hashes.jaccard(kept[n][0]), -n) for n in index.query(hashes)), default=(0, 0))
            if resemblance >= self.threshold:
                return f"resembles {kept[-number][1]} by {resemblance:.2f}"
            index.insert(len(kept), hashes)
            kept.append((hashes, row.where))
            return None

        return near_duplicate

    def shingles(self, text: str) -> set[str]:
        """The different pieces of `size` units of a text; a shorter text is one piece."""
        words = text.casefold().split()
        units, glue = (words, " ") if self.unit == "words" else (" ".join(words), "")
        last = max(1, len(units) - self.size + 1) if units else 0
        return {glue.join(units[at : at + self.size]) for at in range(last)}
