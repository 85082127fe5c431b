"""`--dry-run`: what a run would read, learn and cost, before it takes any of it. Nothing is kept, no step is run."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from viva.base.config import kind
from viva.base.errors import Refusal, notices
from viva.model import folder
from viva.text.cache.documents import Documents
from viva.text.cache.joined import Joined
from viva.text.cache.pack import numbered
from viva.text.preflight import check
from viva.text.preflight.report import Fault, Part, Report
from viva.text.preflight.tally import EXAMPLES, FAULTS, Tally
from viva.text.rows.corpus import mixture
from viva.text.rows.corpus.mixture import Part as Source
from viva.text.rows.fields import Format
from viva.text.rows.row import Corpus, Row
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint, sources, start
from viva.train.data import Data
from viva.train.prospect import prospect
from viva.train.recipe import Recipe, claimable
from viva.train.run import assembled
from viva.train.start import Parts

TRAINED_ON = 50_000_000  # characters at most that a tokenizer is trained on here: at 2 MB/s, half a minute


def preview(recipe: Recipe, faults: int = FAULTS, examples: int = EXAMPLES) -> Report:
    """All that can be found out about a run without running it, what would be refused among it."""
    said: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as made, notices(lambda notice: said.update([notice])):
        report = _Preview(recipe, Path(made), faults, examples).report()
    report.notes += list(said)
    return report


class _Preview:
    """A recipe that is looked at, and the folder for what is made on the way."""

    def __init__(self, recipe: Recipe, made: Path, faults: int, examples: int):
        self.recipe, self.made, self.most = recipe, made, (faults, examples)
        self.sifted = recipe  # with the rows that filters leave, as soon as they went through all of them
        self.notes: list[str] = []
        self.unlearnable: Refusal | None = None  # what would keep the tokenizer from being trained

    def report(self) -> Report:
        """What a run would begin with or, if it would be refused, why, and what else is wrong with its rows."""
        try:
            claimable(self.recipe)
            self.sifted = start.sifted(self.recipe, self.made)
            tokens = self._tokenizer()
            parts = start.parts(self.recipe, Path(self.recipe.out), self.made)
            job, state = assembled(self.recipe, self.made, parts)
            run = prospect(parts, job, state)
        except Refusal as refusal:
            return self._refused(refusal)
        told = list(self._told(parts))
        return Report(_named(self.recipe, tokens), told, self._of_the_tokenizer(told), run, self.notes)

    def _tokenizer(self) -> Tokenizer:
        """That of the run; one that is to be trained is trained on so much of the data, which is said."""
        data = _Beginning(self.sifted.data)
        try:
            made = start.tokenizer(self.recipe.model_copy(update={"data": data}), self.made)
        except Refusal as refusal:
            raise data.passed or refusal from None  # what the run, which passes nothing by, stops at
        self.unlearnable = data.unlearnable or self.unlearnable
        if data.cut:
            self.notes.append(
                f"the tokenizer was trained on the first {TRAINED_ON:,} characters of the data; that of the run is "
                "trained on all, and its counts of tokens will differ a little"
            )
        return made

    def _told(self, parts: Parts) -> Iterator[Part]:
        """What became of the rows, corpus by corpus."""
        yield from self._side("training", self.sifted.data, parts.train, parts)
        if parts.valid is not None:
            corpus = self.sifted.data if self.recipe.held_out is None else self.sifted.held_out
            yield from self._side("held out", corpus, parts.valid, parts)

    def _side(self, name: str, corpus: Corpus, data: Data, parts: Parts) -> Iterator[Part]:
        documents = data.documents.parts if isinstance(data.documents, Joined) else [data.documents]
        for source, found in zip(sources.parts_of(corpus), documents, strict=True):
            tally = self._tally(f"{name}, {source.data.label}", parts.tokenizer)
            form = check.told(self._form(corpus, source, parts.form), source.data)
            tally.part.format, tally.part.speaks = kind(form), data.reading.every
            _add(tally, found, parts.form)
            tally.part.dropped = {taken.filter: taken.rows for taken in getattr(source.data, "taken", [])}
            reading, batching = data.reading, data.batching
            long = batching.long or ("refuse" if reading.whole else "split")
            part = tally.told(batching.context - reading.extra + reading.ahead, long)
            _, report = reading.spans(found, batching.context - reading.extra, long, numbered)
            part.longer = report.split + report.dropped  # which the reading knows: it may not read all of one at once
            yield part

    def _form(self, corpus: Corpus, source: Source, first: Format | None) -> Format:
        """What a source's rows are read by; those to hold out, where they are no mixture, by the data's format."""
        if first is not None and corpus is self.sifted.held_out and not isinstance(corpus, mixture.Config):
            return first
        return getattr(source, "format", None) or self.recipe.format

    def _tally(self, name: str, tokenizer: Tokenizer) -> Tally:
        return Tally(Part(name), tokenizer, *self.most)

    def _refused(self, refusal: Refusal) -> Report:
        """The refusal, and all rows that cannot be used."""
        report = Report(_named(self.recipe, None), [], [Fault.of(refusal)], None, self.notes)
        try:
            tokens, known = self._tokenizer(), self._labels()
        except Refusal as other:
            report.refused += [Fault.of(other)] if str(other) != str(refusal) else []
            return report
        report.tokenizer = _named(self.recipe, tokens)
        if self.recipe.filter and self.sifted is self.recipe:
            self.notes.append("no filter has left out any row here: something is refused before they could")
        form = self._checked(report, "data", self.sifted.data, tokens, known)
        if self.recipe.held_out is not None:
            self._checked(report, "held out", self.sifted.held_out, tokens, known, form)
        if report.refused[0].of_a_row(report.parts):
            report.refused = self._of_the_model(form, tokens) if form is not None else []
        report.refused += self._of_the_tokenizer(report.parts)
        return report

    def _checked(
        self,
        report: Report,
        name: str,
        corpus: Corpus,
        tokens: Tokenizer,
        known: tuple[str, ...] | None,
        first: Format | None = None,
    ) -> Format | None:
        """Add all parts of a corpus to the report; returns the first one's format, if its rows tell it."""
        forms = []
        for source in sources.parts_of(corpus):
            tally = self._tally(f"{name}, {source.data.label}", tokens)
            forms.append(check.check(source.data, self._form(corpus, source, first), tokens, tally, known))
            report.parts.append(tally.told(self.recipe.train.context, self.recipe.train.long))
        return forms[0]

    def _labels(self) -> tuple[str, ...] | None:
        """The classes of the model that goes on, if it has any."""
        return self.recipe.init and folder.labels(checkpoint.located(self.recipe.init))

    def _of_the_tokenizer(self, parts: list[Part]) -> list[Fault]:
        """The text that it cannot be trained on, unless a format found it too."""
        fault = self.unlearnable and Fault.of(self.unlearnable)
        return [fault] if fault and not fault.of_a_row(parts) else []

    def _of_the_model(self, form: Format, tokens: Tokenizer) -> list[Fault]:
        """Whether the model would be refused too, where rows came first."""
        try:
            start.model(self.recipe, form, tokens)
        except Refusal as refusal:
            return [Fault.of(refusal)]
        return []


def _add(tally: Tally, documents: Documents, form: Format) -> None:
    """Tell a tally of documents, and of the rows that became none."""
    for number in range(len(documents)):
        tally.document(f"document {number}", documents.example(number), form)
    counts, part = documents.counts, tally.part
    part.rows, part.elsewhere, part.empty = counts.rows, counts.elsewhere, counts.empty


@dataclass
class _Beginning:
    """The rows of a corpus that a tokenizer can be trained on, up to so many characters; `cut` where there were more.
    `passed` is why the first of those passed by cannot be, `unlearnable` why the first that is a row cannot.
    """

    corpus: Corpus
    cut: bool = False
    passed: Refusal | None = None
    unlearnable: Refusal | None = None

    def rows(self) -> Iterator[Row]:
        size = 0
        for row in self.corpus.each():
            if isinstance(row, Refusal):
                self.passed = self.passed or row
                continue
            try:
                size += sum(map(len, start.whole_strings(row)))
            except Refusal as refusal:
                self.unlearnable = self.unlearnable or refusal
                self.passed = self.passed or refusal
                continue
            if size > TRAINED_ON:
                self.cut = True
                return
            yield row


def _named(recipe: Recipe, tokens: Tokenizer | None) -> str:
    """Where the tokenizer comes from, and its size."""
    given = recipe.tokenizer if isinstance(recipe.tokenizer, str) else None
    where = given or (recipe.init if recipe.tokenizer is None else None) or "trained on the data"
    return where if tokens is None else f"{where}, {tokens.vocab_size:,} tokens"
