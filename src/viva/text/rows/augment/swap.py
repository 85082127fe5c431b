"""Random swap: two words change places, n times (EDA, Wei and Zou 2019)."""

from random import Random

from pydantic import Field

from viva.text.rows.augmented import Augment, Change


class Config(Augment):
    """`share` of the words, once at least."""

    share: float = Field(0.1, gt=0, le=1)

    def change(self) -> Change:
        def swapped(words: list[str], random: Random) -> list[str]:
            made = [*words]
            for _ in range(max(1, int(self.share * len(words))) if len(words) > 1 else 0):
                i, j = random.sample(range(len(made)), 2)
                made[i], made[j] = made[j], made[i]
            return made

        return swapped
