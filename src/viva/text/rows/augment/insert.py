"""Random insertion: a synonym of one of the words is put anywhere, n times (EDA, Wei and Zou 2019)."""

from random import Random
from typing import Any

from pydantic import Field

from viva.text.rows.augment._synonyms import Synonyms, read
from viva.text.rows.augmented import Augment, Change


class Config(Augment):
    """`table` as in replace. As many words are put in as are a `share` of those there are, one at least; none where the
    table has none of them.
    """

    table: str
    share: float = Field(0.1, gt=0, le=1)

    def change(self) -> Change:
        synonyms = Synonyms(self.table)

        def filled(words: list[str], random: Random) -> list[str]:
            made, known = [*words], [word for word in words if synonyms.of(word)]
            for _ in range(max(1, int(self.share * len(words))) if known else 0):
                made.insert(random.randint(0, len(made)), random.choice(synonyms.of(random.choice(known))))
            return made

        return filled

    def digest(self) -> Any:
        return [super().digest(), read(self.table)]
