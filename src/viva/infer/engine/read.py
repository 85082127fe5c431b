"""A pass of a model over the next tokens of several requests."""

import torch
from torch import Tensor

from viva.base.product import rowwise
from viva.infer.engine.paged import Pool, Reading
from viva.infer.engine.request import Request
from viva.infer.engine.schedule import Work
from viva.infer.engine.steady import Recordings
from viva.model.transformer import Transformer


class Reader:
    """Passes over one pool of keys and values; `recorded` on a GPU, but for models that cannot be."""

    def __init__(self, pool: Pool, recorded: bool = True):
        self.pool = pool
        self._recordings = Recordings(pool) if recorded and pool.device.type == "cuda" else None

    def read(self, model: Transformer, work: list[Work]) -> dict[Request, Tensor]:
        """The scores [scored, V] of the last places of each request whose next tokens can be told."""
        if self._recordings and all(each.tokens == each.scored == 1 for each in work):
            scores = self._recordings.read(model, work)
            if scores is not None:
                return {each.request: row[None] for each, row in zip(work, scores, strict=True)}
        reading = Reading.of(self.pool, work)
        tokens = [each.request.text(each.request.computed, each.request.computed + each.tokens) for each in work]
        ids = torch.tensor([[token for part in tokens for token in part]], device=self.pool.device)
        with rowwise():
            states = model.hidden(ids, reading.layout, cache=reading)[0]
            return _scores(model, states, work)


def _scores(model: Transformer, states: Tensor, work: list[Work]) -> dict[Request, Tensor]:
    ends = torch.tensor([each.tokens for each in work]).cumsum(0).tolist()
    at = [place for each, end in zip(work, ends, strict=True) for place in range(end - each.scored, end)]
    if not at:
        return {}
    scores = model.logits(states[at]).split([each.scored for each in work])
    return {each.request: own for each, own in zip(work, scores, strict=True) if each.scored}
