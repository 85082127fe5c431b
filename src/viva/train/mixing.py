"""How the rows of several parts are mixed, each with its share, as a pure function of the seed and the epoch.

Each part is an endless line of rows, its own epochs one after another, and an epoch of the mixture takes the next of
each line. So all of a part is read before any of it is read again, whatever its share.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from viva.base.errors import Refusal
from viva.base.seed import derive, stream
from viva.text.cache.pack import Span

Row = list[Span]


def quotas(rows: int, weights: Sequence[float]) -> list[int]:
    """How many of `rows` each part has, in proportion to its weight; what rounding leaves goes to the largest
    remainders (Hamilton's method). Each part has one at least.
    """
    exact = [rows * weight / sum(weights) for weight in weights]
    found = [max(1, int(share)) for share in exact]
    order = sorted(range(len(weights)), key=lambda part: int(exact[part]) - exact[part])
    for part in order[: max(0, rows - sum(found))]:
        found[part] += 1
    return found


def by_part(spans: Sequence[Span], ends: Sequence[int]) -> list[list[Span]]:
    """The spans of each part, where part k has the documents from ends[k - 1] up to ends[k]; refused if it has none."""
    found = [[span for span in spans if low <= span.document < high] for low, high in pairwise([0, *ends])]
    for part, own in enumerate(found, start=1):
        if not own:
            must = f"part {part} of the mixture must have a document that can be read"
            fix = "raise the context, set train.long to split, or leave the part out"
            raise Refusal(must, "none of a length that fits", fix)
    return found


class Mixture:
    """Rows of each part, in an epoch as many in all as the parts have. A weight is the part's share of the tokens where
    `by_tokens`, since rows are packed more or less full, or else of the rows.

    `packed(spans, seed)` makes the rows of one epoch of a part, always as many.
    """

    def __init__(
        self,
        parts: list[list[Span]],
        weights: Sequence[float],
        packed: Callable[[list[Span], int], list[Row]],
        seed: int,
        by_tokens: bool,
    ):
        self.parts, self.packed, self.seed = parts, packed, seed
        self.sizes = [len(self._line(part, 0)) for part in range(len(parts))]
        tokens = [sum(span.length for span in part) for part in parts] if by_tokens else self.sizes
        self.full = [each / size for each, size in zip(tokens, self.sizes, strict=True)]  # what a row has, on average
        self.quotas = quotas(sum(self.sizes), [weight / full for weight, full in zip(weights, self.full, strict=True)])

    @property
    def shares(self) -> list[float]:
        """What the weights come to in whole rows: each part's share of an epoch's tokens, or rows, on average."""
        read = [quota * full for quota, full in zip(self.quotas, self.full, strict=True)]
        return [each / sum(read) for each in read]

    @property
    def times(self) -> list[float]:
        """How often an epoch of the mixture reads a document of each part, on average."""
        return [quota / size for quota, size in zip(self.quotas, self.sizes, strict=True)]

    def epoch(self, number: int) -> list[Row]:
        """What epoch `number` reads: of part k the rows [number * quota, (number + 1) * quota) of its line."""
        rows = [row for part in range(len(self.parts)) for row in self._next(part, number)]
        stream(self.seed, "mixture", number).shuffle(rows)
        return rows

    def _next(self, part: int, number: int) -> list[Row]:
        size, quota = self.sizes[part], self.quotas[part]
        found = []
        places = (divmod(place, size) for place in range(number * quota, (number + 1) * quota))
        for epoch, inside in groupby(places, lambda place: place[0]):
            line = self._line(part, epoch)
            found += [line[at] for _, at in inside]
        return found

    def _line(self, part: int, epoch: int) -> list[Row]:
        """One epoch of a part by itself."""
        return self.packed(self.parts[part], derive(self.seed, "part", part, epoch))
