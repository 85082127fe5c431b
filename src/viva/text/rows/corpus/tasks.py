"""Verified Python tasks as conversations: a question about an expression, the interpreter's answer."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from viva.base.seed import stream
from viva.text.rows import expression, tasks
from viva.text.rows.row import Corpus, Row
from viva.text.rows.tasks import FAMILIES, task


class Config(Corpus):
    """count: rows; families: their names, by default all, which take turns; held_out: only operands that no
    training row (held_out false) has. Row i is a pure function of the seed, the side and i."""

    count: int = Field(20_000, ge=1)
    seed: int = 0
    held_out: bool = False
    families: tuple[str, ...] | None = None

    def rows(self) -> Iterator[Row]:
        names = self.families or tuple(FAMILIES)
        for number in range(self.count):
            made = task(names[number % len(names)], self.held_out, stream(self.seed, "tasks", self.held_out, number))
            talk = [{"role": "user", "content": made.question}, {"role": "assistant", "content": made.answer}]
            yield Row({"messages": talk, "task": made.family, "expression": made.expression}, f"tasks:{number + 1}")

    def digest(self) -> str:
        """A hash of the fields and of the generator's source, which together say all about the rows."""
        source = b"".join(Path(module.__file__).read_bytes() for module in (tasks, expression))
        return hashlib.sha256(self.model_dump_json().encode() + source).hexdigest()
