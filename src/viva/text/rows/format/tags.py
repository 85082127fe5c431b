"""Words with a class each: parts of speech, names."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, ClassVar

from viva.base.errors import Refusal
from viva.text.rows.fields import Format, corrected, frame, value
from viva.text.rows.format._names import Names, name, numbered, ordered
from viva.text.rows.row import Corpus, Row
from viva.text.tokens.characters import require_whole
from viva.text.tokens.example import UNTAGGED, Example
from viva.text.tokens.tokenizer import Tokenizer

MOST = 100  # words that are told with their classes


class Config(Format):
    """tokens, tags: the names of the fields with the lists of words and of their classes. `labels` as in classes. A
    word's class is that of its first token; the others have none. Words are set apart by spaces, if not by `spaces`
    false, as in Chinese.
    """

    told_by: ClassVar = (("tokens", "tags"),)

    tokens: str = "tokens"
    tags: str = "tags"
    labels: Names | None = None
    spaces: bool = True

    def settled(self, corpus: Corpus, known: tuple[str, ...] | None = None) -> "Config":
        if self.labels is not None:
            return self
        found = {name(tag, row, self.tags) for row in corpus.rows() for tag in _list(row, self.tags)}
        return self.model_copy(update={"labels": ordered(found, known)})

    def classes(self) -> tuple[str, ...] | None:
        return self.labels

    def aim(self, found: Example, tokenizer: Tokenizer) -> str:
        """Each word with its class, up to MOST of them."""
        begins = [place for place, tag in enumerate(found.tags) if tag != UNTAGGED]
        behind = len(frame(tokenizer)[1])
        words = zip(begins, [*begins[1:], len(found.ids) - behind], strict=True)
        said = [(tokenizer.decode(found.ids[a:b]).strip(), self.labels[found.tags[a]]) for a, b in islice(words, MOST)]
        more = f" and {len(begins) - MOST:,} more words" if len(begins) > MOST else ""
        return ", ".join(f"{word} {label}" for word, label in said) + more

    def examples(self, rows: Iterable[Row], tokenizer: Tokenizer) -> list[Example | None]:
        before, after = frame(tokenizer)
        return [self._example(row, tokenizer, before, after) for row in rows]

    def _example(self, row: Row, tokenizer: Tokenizer, before: list[int], after: list[int]) -> Example | None:
        words, labels = [_word(word, row, self.tokens) for word in _list(row, self.tokens)], _list(row, self.tags)
        if len(words) != len(labels):
            found = f"{len(words)} words and {len(labels)} tags"
            raise Refusal(f"{row.where} must have a tag for each word", found, "mend or remove the row")
        ids, tags = list(before), [UNTAGGED] * len(before)
        for place, (word, label) in enumerate(zip(words, labels, strict=True)):
            made = tokenizer.encode(f" {word}" if place and self.spaces else word)
            if not made:
                raise Refusal(f"{row.where} must have words with text", repr(word), "remove the empty word")
            ids += made
            tags += [numbered(label, self.labels, row, self.tags)] + [UNTAGGED] * (len(made) - 1)
        ids, tags = [*ids, *after], [*tags, *[UNTAGGED] * len(after)]
        return Example(ids, [False] * len(ids), 0, tags=tags) if words else None


def _list(row: Row, field: str) -> list:
    """The list in a field; a text is none, though it has letters."""
    found = value(row, field, ["..."])
    if not isinstance(found, list):
        words = found.split() if isinstance(found, str) else ["..."]
        fix = f"write a list, an entry for each word: {corrected(row, field, words)}"
        raise Refusal(f"{row.where} must have a list as {field!r}", repr(found)[:80], fix)
    return found


def _word(word: Any, row: Row, field: str) -> str:
    if not isinstance(word, str):
        fix = "write each word as a string"
        raise Refusal(f"{row.where} must have words of text as {field!r}", repr(word)[:80], fix)
    return require_whole(word, f"a word in the field {field!r} of {row.where}")
