"""Rows that their format refuses, such as a conversation that a chat template does not write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from viva.base.choice import Choice, tagged
from viva.base.errors import Refusal, notices
from viva.text.rows.fields import Format
from viva.text.rows.format import auto
from viva.text.rows.row import Corpus, Row
from viva.text.rows.sift import Filter, Judge, Source
from viva.text.tokens.tokenizer import Tokenizer


class Config(Filter):
    """A row goes if it would be refused, for the reason that the refusal has. Rows are read as the run reads them or,
    where these are given, by this `format` and by the `tokenizer`, with its chat template, of a folder or a run.
    """

    reads: ClassVar[bool] = True

    format: Choice("viva.text.rows.format") | None = None
    tokenizer: str | None = None

    def judges(self, sources: Sequence[Source]) -> list[Judge]:
        return [self._judge(source) for source in sources]

    def digest(self, sources: Sequence[Source]) -> list:
        used = [(self._format(source), self._tokenizer(source).fingerprint) for source in sources]
        return [[tagged(form), fingerprint.model_dump(mode="json")] for form, fingerprint in used]

    def _judge(self, source: Source) -> Judge:
        tokenizer, form = self._tokenizer(source), _settled(self._format(source), source.corpus)

        def refused(row: Row) -> str | None:
            try:
                with notices(_later):
                    form.example(row, tokenizer)
            except Refusal as refusal:
                return f"{refusal.must}, but found {refusal.found}".removeprefix(row.where).strip(" ,:")
            return None

        return refused

    def _format(self, source: Source) -> Format:
        return self.format or source.format

    def _tokenizer(self, source: Source) -> Tokenizer:
        if self.tokenizer is not None:
            return Tokenizer.load(self.tokenizer)
        if source.tokenizer is None:
            must = "the filter unreadable must know the tokenizer that rows are read with"
            fix = (
                "name one with such a chat template in the filter's `tokenizer`, or give the run an init or a tokenizer"
            )
            raise Refusal(must, "one that is to be learned from the rows that filters leave", fix)
        return source.tokenizer()


def _later(notice: str) -> None:
    """What is noted of rows is said where the run reads those that are left."""


def _settled(form: Format, corpus: Corpus) -> Format:
    """The format with what it must know of all rows, such as names of classes, told by those that can tell it."""
    with notices(_later):
        form = form.told(corpus) if isinstance(form, auto.Config) else form
    return form if type(form).settled is Format.settled else form.settled(_Telling(corpus, form))


@dataclass(frozen=True)
class _Telling:
    """The rows of a corpus of which a format can be told alone what it must know of all."""

    corpus: Corpus
    form: Format

    def rows(self) -> Iterator[Row]:
        return (row for row in self.corpus.rows() if self.form.unsettled_by(row) is None)
