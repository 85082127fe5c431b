"""A beam search in the engine: its beams are requests that share blocks, and take their next tokens together."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from viva.infer.beam import Searches
from viva.infer.engine.paged import Pool
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import State


@dataclass(eq=False)
class Search:
    """The open `beams` in the order of the rows of `found`, and the scores of those that were read."""

    found: Searches
    beams: list[Request]
    scores: dict[Request, Tensor] = field(default_factory=dict)

    def take(self, beam: Request, scores: Tensor) -> None:
        """Note the scores [V] of a beam; those of one that was read a second time, and went on meanwhile, are none."""
        if beam in self.beams and beam.known == beam.computed:
            self.scores[beam] = scores

    def advance(self, state: State, pool: Pool) -> list[int] | None:
        """Take the next token of every beam, once the scores of all are here; the reply, where it is found."""
        if len(self.scores) < len(self.beams):
            return None
        logits = torch.stack([self.scores[beam] for beam in self.beams])
        rows = self.found.advance(logits.float().log_softmax(-1))
        self.scores = {}
        made, limit = self.found.tokens.shape[-1], self.beams[0].limit
        if not rows or made == limit:
            self.found.close()
            return self.found.best()[0]
        self._go_on(rows, state, pool)
        return None

    def _go_on(self, rows: list[int], state: State, pool: Pool) -> None:
        """Beam rows[i] is gone on from as beam i: by itself the first time, by a copy of it every other."""
        before, tokens = self.beams, self.found.tokens[0].tolist()
        for row, beam in enumerate(before):
            if row not in rows:
                beam.ended = True
                state.drop(beam)
        # copies first, since a beam that goes on writes behind what is copied
        self.beams = [
            _copied(before[row], state, pool) if row in rows[:i] else before[row] for i, row in enumerate(rows)
        ]
        for beam, reply in zip(self.beams, tokens, strict=True):
            beam.tokens = reply


def _copied(beam: Request, state: State, pool: Pool) -> Request:
    """Another beam with the same text: full blocks are shared, the last one that is not full is copied. Where there is
    no block for that, it waits, and reads its text again.
    """
    other = Request(beam.number, beam.prompt, beam.limit, beam.model, width=beam.width)
    full = beam.computed // pool.size
    own = state.blocks.take(len(beam.table) - full)
    if own is None or not beam.table:
        state.wait(other)
        return other
    state.blocks.share(beam.table[:full])
    pool.copy(beam.table[full:], own)
    other.table, other.computed = beam.table[:full] + own, beam.computed
    state.running.append(other)
    return other
