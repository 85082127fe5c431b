"""Random deletion: each word goes with a probability (EDA, Wei and Zou 2019)."""

from random import Random

from pydantic import Field

from viva.text.rows.augmented import Augment, Change


class Config(Augment):
    """`share` is the probability; where all words would go, one of them stays."""

    share: float = Field(0.1, gt=0, lt=1)

    def change(self) -> Change:
        def thinned(words: list[str], random: Random) -> list[str]:
            return [word for word in words if random.random() >= self.share] or [random.choice(words)]

        return thinned
