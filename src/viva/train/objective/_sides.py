"""How pairs of answers are read: the chosen answer and the rejected one, each behind the prompt, as two documents."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from viva.base.errors import Refusal
from viva.text.cache.documents import Documents
from viva.text.cache.pack import Long, Named, Report, Span, spans
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.reading import Piece, Reading

Side = tuple[np.ndarray, np.ndarray]  # ids [n], and which of them are learned [n]


class Sides(Reading):
    """Documents of two wholes, cut between them, become two each, end to end in one row without padding. A side's
    tokens predict the next, where that is of the answer. A batch of n documents has n targets: pairs.
    """

    ahead = 0
    every = False
    whole = True
    unread = 1  # tokens at the end of a side that are predicted, and not read

    def spans(self, documents: Documents, context: int, long: Long, named: Named) -> tuple[list[Span], Report]:
        """Both sides must fit into the context: the longer one decides. What is too long is refused, or dropped."""
        if not np.all(documents.cuts):
            raise Refusal("documents must be two answers to a prompt", "another format", "use the format preference")
        longer = np.maximum(documents.cuts, documents.lengths - documents.cuts)
        if long == "refuse":
            for number in np.flatnonzero(longer > context + self.unread):
                _require_room(documents, int(number), context, named)
        side = lambda number: f"the longer answer of {named(number)}"  # noqa: E731
        found, report = spans(longer, context, long, self.unread, side)
        kept = [Span(span.document, 0, int(documents.lengths[span.document])) for span in found]
        left_out = int(documents.lengths.sum()) - sum(span.length for span in kept)
        return kept, replace(report, dropped_tokens=left_out)

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        sides = [[side for piece in row for side in _sides(piece.ids, piece.mask, piece.cut)] for row in rows]
        ids = [[ids[:-1] for ids, _ in row] for row in sides]
        targets = [[np.where(mask[1:], ids[1:], IGNORE) for ids, mask in row] for row in sides]
        lengths = tuple(tuple(map(len, row)) for row in ids)
        return Batch(self.laid(ids, self.pad), self.laid(targets, IGNORE), lengths, answers=sum(map(len, rows)))


def _sides(ids: np.ndarray, mask: np.ndarray, cut: int) -> tuple[Side, Side]:
    return (ids[:cut], mask[:cut]), (ids[cut:], mask[cut:])


def _require_room(documents: Documents, number: int, context: int, named: Named) -> None:
    """Refuse a prompt behind which no token of an answer fits."""
    ids, mask = documents[number]
    prompt = max(int(np.argmax(learned)) for _, learned in _sides(ids, mask, int(documents.cuts[number])))
    if prompt > context:
        must = f"the prompt of {named(number)} must leave room for an answer in the context of {context} tokens"
        fix = "raise train.context, or set train.long to drop"
        raise Refusal(must, f"a prompt of {prompt}", fix)
