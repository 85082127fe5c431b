"""Passes in which each request reads one token and is told the next, as nearly all do while replies are written.

They are the same operations every time, on other numbers. A GPU takes longer to be told them one by one than to do
them; so they are recorded once for each size, as a CUDA graph, and played again. Sizes are few: there are more rows
than requests, and more room for keys than the longest has.
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from viva.base.errors import Notice
from viva.infer.engine.paged import Group, Pool, Reading
from viva.infer.engine.schedule import Work
from viva.infer.engine.served import reach
from viva.model.layout import Layout
from viva.model.transformer import Transformer

ROOM = 128  # keys: rooms are a few times as many
WARM_UP = 2  # passes before one is recorded: libraries set themselves up in the first


class Steady:
    """A pass over one token of each of B requests with room for S keys, which is told by one table on the device."""

    def __init__(self, model: Transformer, pool: Pool, B: int, S: int):
        self.model, self.pool, self.S, self.end = model, pool, S, min(S, reach(model))
        # of each row: its token, the token's place, and the blocks of its text
        self.told = torch.zeros(B, 2 + -(-S // pool.size), dtype=torch.long, device=pool.device)

    def tell(self, work: list[Work]) -> None:
        """What is to be read; rows that are left over read what the last one reads."""
        rows = np.zeros(self.told.shape, np.int64)
        for row, request in zip(rows, (each.request for each in work), strict=False):
            table = request.table[: len(row) - 2]
            row[:2] = *request.text(request.computed, request.computed + 1), request.computed
            row[2 : 2 + len(table)] = table
        rows[len(work) :] = rows[len(work) - 1]
        self.told.copy_(torch.from_numpy(rows))

    def scores(self) -> Tensor:
        """The scores [B, V] of what follows."""
        ids, places, blocks = self.told[:, 0], self.told[:, 1], self.told[:, 2:]
        size = self.pool.size
        slots = (blocks[..., None] * size + torch.arange(size, device=blocks.device)).flatten(1)[:, : self.S]
        written = slots.gather(1, places[:, None])[:, 0]
        layout = Layout(places[None], places[None], self.end, aligned=False)
        group = Group(slice(None), places[:, None], slots.flatten())
        states = self.model.hidden(ids[None], layout, cache=Reading(self.pool, layout, written, [group]))[0]
        return self.model.logits(states)


class Recording(Steady):
    """One that a GPU has been told once; all of them can use the same memory, `shared`."""

    def __init__(self, model: Transformer, pool: Pool, B: int, S: int, shared: tuple[int, int]):
        super().__init__(model, pool, B, S)
        self._graph, self._shared = torch.cuda.CUDAGraph(), shared

    def record(self) -> None:
        """Take down the pass for which it was told what to read, after doing it."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                self.scores()
        torch.cuda.current_stream().wait_stream(beside)
        with torch.cuda.graph(self._graph, pool=self._shared, capture_error_mode="thread_local"):
            self._scores = self.scores()

    def play(self) -> Tensor:
        """The scores [B, V] of what it was told last."""
        self._graph.replay()
        return self._scores.clone()


class Recordings:
    """Those of the passes over one pool, made when they are first needed."""

    def __init__(self, pool: Pool):
        self.pool, self._shared = pool, torch.cuda.graph_pool_handle()
        self._made: dict[tuple[int, int, int], Recording] = {}
        self._without: set[int] = set()

    def read(self, model: Transformer, work: list[Work]) -> Tensor | None:
        """The scores [rows, V] for each of `work`; None for a model whose passes cannot be recorded, which is said."""
        if id(model) in self._without:
            return None
        longest = max(each.request.computed for each in work) + 1
        B, S = few(len(work)), few(-(-longest // ROOM)) * ROOM
        key = (id(model), B, S)
        made = self._made.get(key) or Recording(model, self.pool, B, S, self._shared)
        made.tell(work)
        if key not in self._made:
            try:
                made.record()
            except RuntimeError as error:
                self._without.add(id(model))
                why = str(error).splitlines()[0]
                warnings.warn(Notice(f"steps are not recorded, and slower, with this model: {why}"), stacklevel=2)
                return None
            self._made[key] = made
        return made.play()[: len(work)]


def few(n: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... that is n or more: so few sizes, none a half too large.

    >>> [few(n) for n in (1, 3, 5, 7, 9, 13, 33)]
    [1, 3, 6, 8, 12, 16, 48]
    """
    step = 1 << max(0, (n - 1).bit_length() - 2)
    return -(-n // step) * step
