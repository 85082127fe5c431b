"""Documents as rows of a batch: cut where they are too long, packed so that little of a row stays empty."""

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from viva.base.errors import Refusal
from viva.base.seed import stream

Long = Literal["split", "drop", "refuse"]


class Span(NamedTuple):
    """A piece of a document that is read at once.

    Inputs are ids[start : start + length]. Where each token predicts the next, targets are ids[start + 1 : start +
    length + 1], so that a document of n tokens gives n - 1 inputs, and every token but its first is predicted once.
    """

    document: int
    start: int
    length: int


@dataclass(frozen=True)
class Report:
    """What `spans` did: documents cut into several pieces, dropped as too long, too short to predict anything. And how
    many pieces are left out for they hold nothing to learn.
    """

    split: int = 0
    dropped: int = 0
    dropped_tokens: int = 0
    short: int = 0
    empty: int = 0


Named = Callable[[int], str]  # a document, by its number, in a sentence
numbered: Named = "document {}".format


def spans(
    lengths: Sequence[int], context: int, long: Long = "split", ahead: int = 1, named: Named = numbered
) -> tuple[list[Span], Report]:
    """The spans of documents of `lengths` tokens, none longer than `context`, and what became of long documents.

    A document with more than `context` inputs is cut into consecutive pieces, dropped, or refused, as what `named`
    calls it. Its last `ahead` tokens are no inputs: 1 where each token predicts the next, else 0.
    """
    if context < 1:
        raise Refusal("a context must be at least one token", context, "set a positive context")
    found: list[Span] = []
    split = dropped = tokens = short = 0
    for document, length in enumerate(map(int, lengths)):
        inputs = length - ahead
        if inputs < 1:
            short += 1
        elif inputs > context and long != "split":
            if long == "refuse":
                must = f"{named(document)} must have at most {context + ahead} tokens to fit into the context"
                raise Refusal(must, length, "raise the context, or set train.long to drop")
            dropped, tokens = dropped + 1, tokens + length
        else:
            split += inputs > context
            found += (Span(document, at, min(context, inputs - at)) for at in range(0, inputs, context))
    return found, Report(split, dropped, tokens, short)


def alone(pieces: Sequence[Span], seed: int) -> list[list[Span]]:
    """One span a row, in an order that depends on the seed alone."""
    order = list(pieces)
    stream(seed, "pack").shuffle(order)
    return [[piece] for piece in order]


def even(pieces: Sequence[Span], classes: Sequence[int], seed: int) -> list[Span]:
    """As many spans as there are, of each class as many or one more: within a class each as often as the others, or
    once more, by chance.
    """
    random = stream(seed, "even")
    members: dict[int, list[Span]] = {}
    for piece, found in zip(pieces, classes, strict=True):
        members.setdefault(found, []).append(piece)
    order = sorted(members)
    random.shuffle(order)
    share, more = divmod(len(pieces), len(order))
    taken = []
    for place, found in enumerate(order):
        group, wanted = members[found], share + (place < more)
        taken += group * (wanted // len(group)) + random.sample(group, wanted % len(group))
    return taken


def pack(pieces: Sequence[Span], context: int, seed: int, extra: int = 0) -> list[list[Span]]:
    """Rows of spans whose lengths, and `extra` for each, sum to at most `context`: best fit, decreasing.

    Each span, the longest first, goes into the row with the least room that still holds it (Johnson 1973: at most
    11/9 of the fewest rows possible, plus one). Ties are broken by the seed, and so is the order of the rows.
    """
    order = list(pieces)
    random = stream(seed, "pack")
    random.shuffle(order)
    order.sort(key=lambda piece: -piece.length)  # stable: equal lengths stay shuffled
    rows: list[list[Span]] = []
    shelf = _Shelf()
    for piece in order:
        taken = piece.length + extra
        row, room = shelf.take(taken) or (len(rows), context)
        if row == len(rows):
            rows.append([])
        rows[row].append(piece)
        shelf.put(row, room - taken)
    random.shuffle(rows)
    return rows


class _Shelf:
    """Rows by the room left in them; there are at most `context` different rooms, however many rows."""

    def __init__(self):
        self.rows: dict[int, list[int]] = {}
        self.rooms: list[int] = []  # the keys of `rows`, sorted

    def take(self, length: int) -> tuple[int, int] | None:
        """Remove and return (row, room) of the fullest row with room for `length`, if there is one."""
        at = bisect_left(self.rooms, length)
        if at == len(self.rooms):
            return None
        room = self.rooms[at]
        row = self.rows[room].pop()
        if not self.rows[room]:
            del self.rows[room], self.rooms[at]
        return row, room

    def put(self, row: int, room: int) -> None:
        """Keep `row` for later spans, unless it is full."""
        if not room:
            return
        if room not in self.rows:
            self.rows[room] = []
            insort(self.rooms, room)
        self.rows[room].append(row)
