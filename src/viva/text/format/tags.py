"""Words with a class each: parts of speech, names."""

from collections.abc import Iterable

from viva.base.errors import Refusal, nearest
from viva.text.example import UNTAGGED, Example
from viva.text.fields import Format, frame, value
from viva.text.row import Corpus, Row
from viva.text.tokenizer import Tokenizer


class Config(Format):
    """tokens, tags: the names of the fields with the lists of words and of their classes. `labels` as in classes. A
    word's class is that of its first token; the others have none. Words are set apart by spaces, if not by `spaces`
    false, as in Chinese.
    """

    tokens: str = "tokens"
    tags: str = "tags"
    labels: tuple[str, ...] | None = None
    spaces: bool = True

    def settled(self, corpus: Corpus) -> "Config":
        if self.labels is not None:
            return self
        found = {str(tag) for row in corpus.rows() for tag in value(row, self.tags)}
        return self.model_copy(update={"labels": tuple(sorted(found))})

    def classes(self) -> tuple[str, ...] | None:
        return self.labels

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        before, after = frame(tokenizer)
        return [self._example(row, tokenizer, before, after) for row in rows]

    def _example(self, row: Row, tokenizer: Tokenizer, before: list[int], after: list[int]) -> Example | None:
        words, names = value(row, self.tokens), value(row, self.tags)
        if len(words) != len(names):
            found = f"{len(words)} words and {len(names)} tags"
            raise Refusal(f"{row.where} must have a tag for each word", found, "mend or remove the row")
        ids, tags = list(before), [UNTAGGED] * len(before)
        for place, (word, name) in enumerate(zip(words, names, strict=True)):
            made = tokenizer.encode(f" {word}" if place and self.spaces else word)
            if not made:
                raise Refusal(f"{row.where} must have words with text", repr(word), "remove the empty word")
            ids += made
            tags += [self._number(row, str(name))] + [UNTAGGED] * (len(made) - 1)
        ids, tags = [*ids, *after], [*tags, *[UNTAGGED] * len(after)]
        return Example(ids, [False] * len(ids), 0, tags=tags) if words else None

    def _number(self, row: Row, name: str) -> int:
        if self.labels is None or name not in self.labels:
            fix = nearest(name, list(self.labels or ()))
            raise Refusal(f"{row.where} must have known classes as {self.tags!r}", repr(name), fix)
        return self.labels.index(name)
