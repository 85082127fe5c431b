"""Answers judged one by one, from rows with two answers of which one is preferred: the one is desirable, the other is
not, as in the experiments of KTO (Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, section 4.2).
"""

import hashlib
from collections.abc import Iterator

from viva.base.choice import Choice
from viva.base.errors import Refusal
from viva.text.rows.fields import require_two_answers
from viva.text.rows.format._dialogue import is_dialogue, parted
from viva.text.rows.row import Corpus, Row, sound

PROMPT, COMPLETION, LABEL = "prompt", "completion", "label"


class Config(Corpus):
    """data: rows with two answers in the fields `chosen` and `rejected`. Of each two rows are made, for the format kto:
    all other fields with `completion`, one of the answers, and `label`, true for the chosen one. Where both are one of
    Anthropic's dialogues and no `prompt` stands beside them, it is what both begin with. Both rows are trained on, or
    both held out.
    """

    data: Choice("viva.text.rows.corpus")
    chosen: str = "chosen"
    rejected: str = "rejected"

    def rows(self) -> Iterator[Row]:
        return sound(self.each())

    def each(self) -> Iterator[Row | Refusal]:
        for row in self.data.each():
            try:
                yield from [row] if isinstance(row, Refusal) else self._both(row)
            except Refusal as refusal:
                yield refusal

    def digest(self) -> str:
        """A hash of the rows and of which fields hold the answers."""
        return hashlib.sha256(f"{self.chosen} {self.rejected} {self.data.digest()}".encode()).hexdigest()

    def notes(self) -> list[str]:
        return self.data.notes()

    def _both(self, row: Row) -> list[Row]:
        require_two_answers(row, self.chosen, self.rejected)
        shared = {name: held for name, held in row.data.items() if name not in (self.chosen, self.rejected)}
        answers = [row.data[self.chosen], row.data[self.rejected]]
        if PROMPT not in shared and all(map(is_dialogue, answers)) and (found := parted(*answers)):
            shared[PROMPT], *answers = found
        return [
            Row({**shared, COMPLETION: answer, LABEL: good}, f"{row.where}, the field {side!r}", kin=row.digest)
            for answer, good, side in zip(answers, (True, False), (self.chosen, self.rejected), strict=True)
        ]
