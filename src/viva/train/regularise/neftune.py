"""NEFTune: noise on the tokens' vectors (Jain et al. 2023, https://arxiv.org/abs/2310.05914, section 2)."""

from itertools import accumulate, pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.train.batch import Batch
from viva.train.objective import Ground, Loss, Objective
from viva.train.regularise import Base


class Config(Base):
    """Of a document of L tokens with vectors of E numbers each gets e alpha / sqrt(L E) added, e uniform in [-1, 1].

    The paper tunes on instructions with `alpha` 5, 10 or 15. A row's noise depends on the seed and the row alone, so
    that it is the same however rows are put together.
    """

    alpha: float = Field(5.0, gt=0)

    def wrap(self, objective: Objective, ground: Ground) -> Objective:
        def noisy(model: nn.Module, batch: Batch) -> Loss:
            if not model.training:
                return objective(model, batch)

            def disturb(module: nn.Module, given: tuple, vectors: Tensor) -> Tensor:
                return vectors + self.alpha * _uniform(batch, given[0], vectors)

            with model.embedding.register_forward_hook(disturb):
                return objective(model, batch)

        return noisy


def _uniform(batch: Batch, ids: Tensor, vectors: Tensor) -> Tensor:
    """Numbers uniform in [-1, 1] over sqrt(L E), with the shape of vectors [B, T, E]; 0 at padding."""
    source = batch.source is not None and ids is batch.source.ids
    lengths = batch.source.lengths if source else batch.lengths
    if ids.shape != (batch.source.ids if source else batch.ids).shape:
        fix = "leave out neftune, or objective.segment"
        raise Refusal("neftune must be given whole rows to know how long they are", "a part of them", fix)
    width = vectors.shape[-1]
    found = torch.zeros(vectors.shape)
    for row, (documents, seeds) in enumerate(zip(lengths, _seeds(batch, lengths), strict=True)):
        begins = [0, *accumulate(size for size, _ in seeds)]
        for (begin, end), (_, seed) in zip(pairwise(begins), seeds, strict=True):
            generator = torch.Generator().manual_seed(derive(seed, "neftune", int(source)))
            found[row, begin:end].uniform_(-1, 1, generator=generator)
        sizes = torch.tensor(documents).repeat_interleave(torch.tensor(documents))
        found[row, : len(sizes)] /= (sizes * width).sqrt()[:, None]
    return found.to(vectors)


def _seeds(batch: Batch, lengths: tuple[tuple[int, ...], ...]) -> list[list[tuple[int, int]]]:
    """For each row (tokens, seed) of what has a seed of its own: the row or, where documents lie end to end in one, as
    many of them as belong together. A batch that brings none gets them by the update.
    """
    seeds = batch.seeds or [derive(batch.draw, row) for row in range(len(lengths))]
    if len(seeds) == len(lengths):
        return [[(sum(row), seed)] for row, seed in zip(lengths, seeds, strict=True)]
    [row] = lengths
    each = len(row) // len(seeds)
    sizes = [sum(row[at : at + each]) for at in range(0, len(row), each)]
    return [list(zip(sizes, seeds, strict=True))]
