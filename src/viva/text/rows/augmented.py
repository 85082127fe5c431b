"""More rows to learn from, made of those there are: the rows of the training part, each followed by changed copies.

What is held out is told apart first, by its content, so that no copy of a held-out row is learned.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import Field, PositiveInt

from viva.base.choice import tagged
from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.base.seed import stream
from viva.text.rows.row import Corpus, Row
from viva.text.rows.split import Part, split

VERSION = 1  # of what is made of a row
Change = Callable[[list[str], Random], list[str]]


class Augment(Config):
    """The base of each file's Config in `augment/`. Of each row `copies` are made, in which the text of `fields` is
    changed and all else, such as a label, is kept. `words` are set apart by spaces or, in Chinese, by jieba.
    """

    copies: PositiveInt = 1
    fields: tuple[str, ...] = Field(("text",), min_length=1)
    words: Literal["spaces", "jieba"] = "spaces"

    def change(self) -> Change:
        """A function that gives the words of a text changed, by what it draws."""
        raise NotImplementedError

    def digest(self) -> Any:
        """All that its changes depend on, beside the rows."""
        return tagged(self)


@dataclass
class Augmented:
    """What a `Corpus` is to who reads it: the rows of one part of another, with copies. `seed` is of what is drawn, for
    each row by its content, so that it does not depend on the others.
    """

    corpus: Corpus
    augments: tuple[Augment, ...]
    part: Part
    valid: float
    seed: int
    made: Counter[str] = field(default_factory=Counter)

    @property
    def dropped(self) -> int:
        return self.corpus.dropped

    @property
    def label(self) -> str:
        return self.corpus.label

    def rows(self) -> Iterator[Row]:
        changes = [(each, each.change()) for each in self.augments]
        self.made = Counter()
        for row in split(self.corpus.rows(), self.part, self.valid):
            yield row
            self.made["rows"] += 1
            seen = {row.digest}
            for each, change in changes:
                for number in range(each.copies):
                    copy = self._copy(row, each, change, number)
                    self.made[kind(each) if copy.digest not in seen else "equal"] += 1
                    if copy.digest not in seen:
                        seen.add(copy.digest)
                        yield copy

    def each(self) -> Iterator[Row | Refusal]:
        yield from self.rows()

    def digest(self) -> str:
        """A hash of all rows, whose copies follow from the others."""
        how = [
            VERSION,
            self.corpus.digest(),
            [each.digest() for each in self.augments],
            self.part,
            self.valid,
            self.seed,
        ]
        return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()

    def notes(self) -> list[str]:
        made = ", ".join(f"{self.made[name]:,} by {name}" for name in dict.fromkeys(map(kind, self.augments)))
        equal = f"; {self.made['equal']:,} copies were equal to their row or to each other, and are left out"
        said = f"{self.label}: to {self.made['rows']:,} rows copies are added, {made}{equal * bool(self.made['equal'])}"
        return [*self.corpus.notes(), said]

    def _copy(self, row: Row, augment: Augment, change: Change, number: int) -> Row:
        made = dict(row.data)
        for name in augment.fields:
            text = made.get(name)
            if not isinstance(text, str):
                must = f"{row.where} must have text in the field {name!r} for {kind(augment)} to change"
                found = f"the fields {', '.join(map(repr, made))}" if name not in made else repr(text)[:80]
                raise Refusal(must, found, "name the fields with text in augment.fields")
            random = stream(self.seed, "augment", kind(augment), number, name, row.digest.hex())
            made[name] = _changed(text, augment.words, change, random)
        return Row(made, f"{row.where}, a copy by {kind(augment)}")


def _changed(text: str, words: str, change: Change, random: Random) -> str:
    """The text with its words changed; one without any stays."""
    found = text.split() if words == "spaces" else [word for word in _jieba(text) if not word.isspace()]
    return ("" if words == "jieba" else " ").join(change(found, random)) if found else text


def _jieba(text: str) -> list[str]:
    try:
        import jieba
    except ImportError:
        fix = "install it: pip install 'viva[chinese]', or set words to spaces"
        raise Refusal("words: jieba must have the library jieba", "it is not installed", fix) from None
    jieba.setLogLevel("ERROR")
    return jieba.lcut(text)
