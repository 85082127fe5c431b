"""Pairs of texts of one class and of two, from rows with classes: what a sentence encoder is tuned on by few examples
(SetFit, Tunstall et al. 2022, https://arxiv.org/abs/2209.11055, section 3.1).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator

from pydantic import PositiveInt

from viva.base.choice import Choice
from viva.base.errors import Refusal
from viva.base.seed import stream
from viva.text.rows.fields import text, value
from viva.text.rows.row import Corpus, Row

FIRST, SECOND, VALUE = "first", "second", "value"


class Config(Corpus):
    """data: rows with a text in the field `field` and a class in the field `by`; `pairs`: how many of each kind a row
    begins, drawn by the `seed`. Read them by {kind: pairs, first: first, second: second, value: value}: 1 for texts of
    one class, 0 for others. All rows are held in memory.
    """

    data: Choice("viva.text.rows.corpus")
    field: str = "text"
    by: str = "label"
    pairs: PositiveInt = 20
    seed: int = 0

    def rows(self) -> Iterator[Row]:
        rows = list(self.data.rows())
        texts = [text(row, self.field) for row in rows]
        classes = [str(value(row, self.by)) for row in rows]
        members = defaultdict(list)
        for place, name in enumerate(classes):
            members[name].append(place)
        self._require_contrast(members)
        others = {name: [p for p in range(len(rows)) if classes[p] != name] for name in members}
        for place, row in enumerate(rows):
            random = stream(self.seed, "contrast", place)
            alike = [other for other in members[classes[place]] if other != place]
            for _ in range(self.pairs):
                for among, likeness in ((alike, 1.0), (others[classes[place]], 0.0)):
                    other = random.choice(among)
                    made = {FIRST: texts[place], SECOND: texts[other], VALUE: likeness}
                    yield Row(made, f"{row.where} with {rows[other].where}")

    def digest(self) -> str:
        """A hash of the rows and of how they are paired."""
        how = self.model_dump_json(exclude={"data"})
        return hashlib.sha256(f"{how} {self.data.digest()}".encode()).hexdigest()

    def notes(self) -> list[str]:
        return self.data.notes()

    def _require_contrast(self, members: dict[str, list[int]]) -> None:
        if len(members) < 2:
            found = ", ".join(map(repr, members)) or "no row"
            raise Refusal("rows must be of two classes at least to be told apart", found, "give rows of another class")
        if single := [name for name, places in members.items() if len(places) < 2]:
            must = "each class must have two rows at least, or none is like another"
            raise Refusal(must, f"one of {', '.join(map(repr, single))}", "give another, or leave the class out")
