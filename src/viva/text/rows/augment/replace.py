"""Synonym replacement: n words that have synonyms give way to one of them each (EDA, Wei and Zou 2019)."""

from random import Random
from typing import Any

from pydantic import Field

from viva.text.rows.augment._synonyms import Synonyms, read
from viva.text.rows.augmented import Augment, Change


class Config(Augment):
    """`table`: a text file, in each line words that mean the same, set apart by tabs. `share` of all words are
    replaced, as far as the table has them, one at least.
    """

    table: str
    share: float = Field(0.1, gt=0, le=1)

    def change(self) -> Change:
        synonyms = Synonyms(self.table)

        def replaced(words: list[str], random: Random) -> list[str]:
            made = [*words]
            places = [place for place, word in enumerate(words) if synonyms.of(word)]
            for place in random.sample(places, min(len(places), max(1, int(self.share * len(words))))):
                made[place] = synonyms.drawn(words[place], random)
            return made

        return replaced

    def digest(self) -> Any:
        return [super().digest(), read(self.table)]
