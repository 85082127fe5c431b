"""Two texts of which the second answers the first: translation, summaries. Only the second is learned."""

from collections.abc import Iterable
from typing import ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, text
from viva.text.rows.row import Row
from viva.text.tokens.example import Example
from viva.text.tokens.tokenizer import Tokenizer


class Config(Format):
    """source, target: the names of the two fields. Both end with the end token, or stand within what the tokenizer's
    post-processor sets around a text, as BART's does. The target begins with `start`, which nothing predicts; left out,
    it is the begin token or, in a tokenizer without one, that of padding, as in T5.
    """

    told_by: ClassVar = (("source", "target"),)

    source: str = "source"
    target: str = "target"
    start: str | None = None

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        rows = list(rows)
        start, (before, after) = begin(tokenizer, self.start), tokenizer.around_source
        sides = [[text(row, name) for row in rows] for name in (self.source, self.target)]
        sources, targets = ([tokenizer.encode(side) for side in texts] for texts in sides)
        found: list[Example | None] = []
        for source, target, given, wanted in zip(sources, targets, *sides, strict=True):
            first, second = [*before, *source, *after], [start, *before, *target, *after]
            mask = [False] * (len(first) + 1) + [True] * (len(second) - 1)
            whole = Example(first + second, mask, len(wanted.encode()), cut=len(first))
            found.append(whole if given and wanted else None)
        return found


def begin(tokenizer: Tokenizer, start: str | None = None) -> int:
    """The id a target begins with."""
    name = start or tokenizer.words.get("bos_token") or tokenizer.words.get("pad_token")
    if name is None or tokenizer.eos_id is None:
        found = f"start {name}, end {tokenizer.words.get('eos_token')}"
        fix = "set format.start, or the tokens in tokenizer_config.json"
        raise Refusal("a tokenizer must have tokens that begin and end a target", found, fix)
    return tokenizer.id(name)
