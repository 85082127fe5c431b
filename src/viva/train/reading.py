"""How documents become a batch: an objective's way to read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.text.cache.documents import Documents
from viva.text.cache.pack import Long, Named, Report, Span, spans
from viva.train.batch import Batch, Source
from viva.train.loss import IGNORE


@dataclass(frozen=True)
class Piece:
    """What is read of a document at once: `span` of it."""

    documents: Documents
    span: Span

    @property
    def ids(self) -> np.ndarray:
        """The tokens read, int64."""
        return self._whole[0][self._inside].astype(np.int64)

    @property
    def mask(self) -> np.ndarray:
        """Which of them are to be learned."""
        return np.asarray(self._whole[1][self._inside])

    @property
    def next(self) -> np.ndarray:
        """For each token the one that follows, where it is to be learned, else IGNORE."""
        ids, mask = (x[self.span.start + 1 : self.span.start + self.span.length + 1] for x in self._whole)
        return np.where(mask, ids.astype(np.int64), IGNORE)

    @property
    def cut(self) -> int:
        """How many tokens the first of two texts has; only of documents that are read whole."""
        return int(self.documents.cuts[self.span.document])

    @property
    def label(self) -> float:
        """The document's class or value."""
        return float(self.documents.labels[self.span.document])

    @property
    def tags(self) -> np.ndarray:
        """A class for each token read."""
        return np.asarray(self.documents.tags(self.span.document)[self._inside], np.int64)

    @property
    def _whole(self) -> tuple[np.ndarray, np.ndarray]:
        return self.documents[self.span.document]

    @property
    def _inside(self) -> slice:
        return slice(self.span.start, self.span.start + self.span.length)


class Reading:
    """The base: pretraining left to right. A document's last `ahead` tokens are not read.

    With `whole`, documents are not cut, and those of a batch lie end to end in one row, without any padding. `every`
    says that each token to be learned is predicted once, so that a loss can be told in bits a byte. `extra` is how many
    tokens a piece may grow by on the way into the batch, `least` how many rows a batch must have to teach something.
    """

    ahead = 1
    whole = False
    every = True
    extra = 0
    least = 1

    def __init__(self, pad: int):
        self.pad = pad

    def spans(self, documents: Documents, context: int, long: Long, named: Named) -> tuple[list[Span], Report]:
        """What is read of the documents, and what became of those that are too long, or too short."""
        return spans(documents.lengths, context, long, self.ahead, named)

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        """The batch of `rows` of pieces; what is drawn for a row comes from its own generator."""
        ids = self.laid([[piece.ids for piece in row] for row in rows], self.pad)
        targets = self.laid([[piece.next for piece in row] for row in rows], IGNORE)
        return Batch(ids, targets, lengths(rows))

    def classes(self, documents: Documents) -> list[int]:
        """The class of each document, by which an epoch is balanced: its label, where documents are read whole."""
        if not self.whole:
            found = "an objective that reads pieces of documents"
            raise Refusal("train.balanced must have documents with a class each", found, "use it with classify, or tag")
        return [_class(label) for label in documents.labels]

    def segments(self, rows: Sequence[Sequence[Piece]]) -> Tensor | None:
        """1 for the tokens of the second of two texts, else 0, [B, T]; None where there is no second."""
        if not any(piece.cut for row in rows for piece in row):
            return None
        parts = [[(np.arange(len(p.ids)) >= (p.cut or len(p.ids))).astype(np.int64) for p in row] for row in rows]
        return self.laid(parts, 0)

    @staticmethod
    def laid(rows: Sequence[Sequence[np.ndarray]], fill: int) -> Tensor:
        """The arrays of each row end to end, and `fill` up to the longest row, [B, T]."""
        joined = [np.concatenate(row) for row in rows]
        out = np.full((len(rows), max(map(len, joined))), fill, np.int64)
        for filled, row in zip(out, joined, strict=True):
            filled[: len(row)] = row
        return torch.from_numpy(out)

    def source(self, rows: Sequence[Sequence[np.ndarray]]) -> Source:
        """What an encoder reads."""
        return Source(self.laid(rows, self.pad), tuple(tuple(map(len, row)) for row in rows))


def lengths(rows: Sequence[Sequence[Piece]]) -> tuple[tuple[int, ...], ...]:
    """Of the pieces in each row."""
    return tuple(tuple(piece.span.length for piece in row) for row in rows)


def _class(label: float) -> int:
    if label != label or label != round(label):
        found = "none in the token cache" if label != label else f"the value {label:g}"
        raise Refusal("documents must have classes to be balanced", found, "use the format `classes`, without values")
    return int(label)
