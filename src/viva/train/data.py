"""Batches as a pure function of (seed, step): a resumed run replays nothing, and accumulation changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import ClassVar

import numpy as np
from pydantic import PositiveInt

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.text.cache.documents import Documents
from viva.text.cache.pack import Long, Named, Span, alone, even, numbered, pack
from viva.train.batch import Batch
from viva.train.mixing import Mixture, Row, by_part
from viva.train.reading import Piece, Reading


class Batching(Config):
    """`batch` rows of at most `context` tokens at once, `accumulate` times before each update.

    `pack` lays several documents into a row, without sight of each other. `long` says what becomes of a document
    longer than the context; left out, it is split or, where the objective reads documents whole, refused. Of those a
    batch has `batch` documents, laid end to end. With `balanced` an epoch reads as many documents of each class: those
    of small classes several times, of large ones a part, another in each epoch. Where tokens have classes, a document
    is of the rarest that it holds, and `pack` must be false.
    """

    batch: PositiveInt = 8
    accumulate: PositiveInt = 1
    context: PositiveInt = 512
    pack: bool = True
    long: Long | None = None
    balanced: bool = False


@dataclass(frozen=True)
class Share:
    """What a part is of a mixture: so many of the documents, and its weight among the parts."""

    name: str
    documents: int
    weight: float


class Data:
    """The rows of all epochs, one after another; step s takes the s-th `batch * accumulate` of them.

    Epoch e's packing and order depend on (seed, e) alone, and every epoch has as many rows: best fit sees lengths only.
    `shares` are those of a mixture, whose documents stand part by part. In sentences the documents are called `name`,
    and each what `named` says.
    """

    measured: ClassVar[dict[str, float]] = {}  # of a step, beside what its updates measure

    def __init__(
        self,
        documents: Documents,
        batching: Batching,
        reading: Reading,
        seed: int = 0,
        shares: tuple[Share, ...] = (),
        name: str = "the data",
        named: Named = numbered,
    ):
        self.documents, self.batching, self.reading, self.seed = documents, batching, reading, seed
        self.shares = shares
        ahead, long = reading.ahead, batching.long or ("refuse" if reading.whole else "split")
        if reading.whole and long == "split":
            must = "documents that are read whole must be dropped or refused where they are too long"
            raise Refusal(must, "train.long=split", "set train.long to drop, or to refuse")
        if batching.balanced and shares:
            fix = "leave out train.balanced, or the weights of the mixture"
            raise Refusal("an epoch must be made up by its classes or by the weights of a mixture", "both", fix)
        self._classes = reading.classes(documents) if batching.balanced else []
        if batching.balanced and self._packs:
            must = "an epoch that is balanced must have rows of one document each, to have as many rows as any other"
            raise Refusal(must, "train.pack=true", "set train.pack to false")
        context = batching.context - reading.extra
        if context < 1:
            found, fix = f"a context of {batching.context}", "raise train.context"
            must = f"a context must have room for the {reading.extra} tokens that are added to a document"
            raise Refusal(must, found, fix)
        self.spans, self.report = reading.spans(documents, context, long, named)
        if not self.spans:
            must = f"{name} must hold a document of {1 + ahead} to {context + ahead} tokens"
            found = f"{self.report.short} shorter and {self.report.dropped} longer ones"
            fix = "raise train.context" if self.report.dropped else "give longer documents, or more of them"
            raise Refusal(must, found, f"{fix}, or change `valid`, the share of the rows that is held out")
        if min(batching.batch, len(self.spans)) < reading.least:
            must = f"a batch must have {reading.least} documents at least for this objective"
            found = f"train.batch={batching.batch}, and {len(self.spans)} documents"
            raise Refusal(must, found, "raise train.batch, or give more documents")
        self._plans: dict[int, list[Row]] = {}

    @cached_property
    def rows(self) -> int:
        """Rows in an epoch."""
        return len(self.epoch(0))

    @property
    def rows_a_step(self) -> int:
        """Rows between two updates."""
        return self.batching.batch * self.batching.accumulate

    @property
    def steps_an_epoch(self) -> float:
        """Updates in which every document is read once."""
        return self.rows / self.rows_a_step

    def epoch(self, number: int) -> list[Row]:
        """The rows of one epoch; a step needs two at most, so no more are kept."""
        if number not in self._plans:
            last = {key: plan for key, plan in self._plans.items() if key == number - 1}
            make = self.mixture.epoch if self.shares else self._balanced if self.batching.balanced else self._all
            self._plans = {**last, number: make(number)}
        return self._plans[number]

    def updates(self, step: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of a step: there is one."""
        yield self.micro_batches(step)

    def micro_batches(self, step: int) -> list[Batch]:
        """The batches of an update, `accumulate` of them."""
        return list(self._batches(self.rows_of(step), [("noise", place) for place in self._places(step)]))

    def rows_of(self, step: int) -> list[Row]:
        """The rows of an update."""
        return [self._row(place) for place in self._places(step)]

    def once(self) -> Iterator[Batch]:
        """Every document once, in batches of `batch` rows: for evaluation. What is drawn is the same each time. Rows at
        the end that are too few to be a batch (`Reading.least`) join the one before.
        """
        rows = self._all(0) if self.batching.balanced or self.shares else self.epoch(0)
        return self._batches(rows, [("noise", "once", place) for place in range(len(rows))])

    def repeats(self) -> list[str]:
        """Whether an update reads some document more than once, as a sentence if so."""
        if self.rows >= self.rows_a_step:
            return []
        return [f"an update reads {self.rows_a_step} rows, but the data has {self.rows}: documents repeat in it"]

    def passed_over(self) -> list[str]:
        """What of the documents is cut or left out, in sentences."""
        r, context = self.report, self.batching.context
        said = [
            (r.split, f"documents are longer than the context of {context} tokens and are cut into pieces"),
            (r.dropped, f"documents ({r.dropped_tokens} tokens) are longer than the context and left out"),
            (r.short, "documents have fewer than two tokens and teach nothing"),
            (r.empty, "pieces of documents hold nothing to learn and are left out"),
        ]
        return [f"{count} {what}" for count, what in said if count]

    @cached_property
    def mixture(self) -> Mixture:
        """The parts by their shares, each packed by itself."""
        parts = by_part(self.spans, list(accumulate(share.documents for share in self.shares)))
        return Mixture(parts, [share.weight for share in self.shares], self._packed, self.seed, by_tokens=self._packs)

    def mixed(self) -> list[str]:
        """What the weights of a mixture come to, in sentences."""
        said = []
        for part, share in enumerate(self.shares):
            times, rows = self.mixture.times[part], f"{self.mixture.quotas[part] / self.rows:.1%} of the rows"
            weight = f"{self.mixture.shares[part]:.1%} of the tokens, in {rows}" if self._packs else rows
            later = "" if times >= 1 else "; those that one leaves out the next ones read"
            read = f"its {share.documents:,} documents are read {times:.2f} times an epoch{later}"
            said.append(f"part {part + 1} of the mixture, {share.name}: {weight}; {read}")
        return said

    def _all(self, number: int) -> list[Row]:
        """Every document once."""
        return self._packed(self.spans, derive(self.seed, "epoch", number))

    @property
    def _packs(self) -> bool:
        """Whether a row holds several documents."""
        return self.batching.pack and not self.reading.whole

    def _packed(self, pieces: list[Span], seed: int) -> list[Row]:
        if not self._packs:
            return alone(pieces, seed)
        return pack(pieces, self.batching.context, seed, self.reading.extra)

    def _balanced(self, number: int) -> list[Row]:
        """As many documents as there are, as many of each class."""
        classes = [self._classes[span.document] for span in self.spans]
        return alone(
            even(self.spans, classes, derive(self.seed, "classes", number)), derive(self.seed, "epoch", number)
        )

    def _places(self, step: int) -> range:
        return range(step * self.rows_a_step, (step + 1) * self.rows_a_step)

    def _row(self, place: int) -> Row:
        epoch, at = divmod(place, self.rows)
        return self.epoch(epoch)[at]

    def _batches(self, rows: list[Row], names: list[tuple]) -> Iterator[Batch]:
        starts = range(0, len(rows) - self.reading.least + 1, self.batching.batch)
        ends = [*starts[1:], len(rows)]
        return (self._batch(rows[at:end], names[at:end]) for at, end in zip(starts, ends, strict=True))

    def _batch(self, rows: list[Row], names: list[tuple]) -> Batch:
        """What is drawn for a row depends on the seed and the row's name alone, however rows are put together."""
        seeds = tuple(derive(self.seed, *name) for name in names)
        randoms = [np.random.default_rng(seed) for seed in seeds]
        pieces = [[Piece(self.documents, span) for span in row] for row in rows]
        if self.reading.whole:
            pieces = [[piece for row in pieces for piece in row]]  # and a generator for each
        return replace(self.reading.batch(pieces, randoms), seeds=seeds)
