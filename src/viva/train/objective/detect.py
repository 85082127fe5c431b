"""Replaced-token detection (ELECTRA, Clark et al. 2020, https://arxiv.org/abs/2003.10555, section 2): some tokens are
replaced by plausible ones, and the model learns for every token whether it is the one that was there.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from viva.base import machine
from viva.base.errors import Refusal
from viva.model import adapter
from viva.model.transformer import Transformer
from viva.text.cache.documents import Documents
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head
from viva.train.objective._filling import require_both_ways, require_masks_seen
from viva.train.objective._noise import chosen, role, special
from viva.train.objective.masked import Config as MaskedConfig
from viva.train.reading import Piece, Reading, lengths

ROWS = 512  # guesses drawn at once: their probabilities are a matrix [ROWS, V]


class Config(Base):
    """A `share` of the tokens, one at least of a document, is replaced by guesses of `generator`, a masked LM in the
    folder of a checkpoint or run, which stays as it is (in the paper it learns beside the model). Left out, they are
    drawn by how often tokens occur in the documents read. A guess that is the token itself counts as the original.
    """

    heads: ClassVar[tuple[str, ...]] = ("replaced", "tag")

    share: float = Field(0.15, gt=0, le=1)
    generator: str | None = None

    def reading(self, tokenizer: Tokenizer) -> Reading:
        return Detect(tokenizer, self.share, self.generator and Generator(self.generator, tokenizer))

    def require(self, model: Transformer) -> None:
        require_both_ways(model, "to tell from both sides what was replaced")
        require_head(model, "a model must have a score for each token to tell what was replaced", *self.heads)
        if getattr(model.spec.head, "labels", 1) != 1:
            fix = "use the family electra, or set head to {kind: tag, labels: 1}"
            raise Refusal("a tag that tells what was replaced must be one number", model.spec.head.labels, fix)

    def build(self, ground: Ground | None = None) -> Objective:
        """The binary cross-entropy of all tokens, summed, with the number of those told right as `accuracy`."""

        def detect(model: nn.Module, batch: Batch) -> Loss:
            learned = batch.targets != IGNORE
            scores = model(batch.ids, batch.layout).reshape(batch.ids.shape)[learned].float()
            aims = batch.targets[learned].float()
            total = binary_cross_entropy_with_logits(scores, aims, reduction="sum")
            return Loss(total, batch.count, {"accuracy": float(((scores > 0) == aims.bool()).sum())})

        return detect


class Generator:
    """A masked LM, frozen, that guesses tokens."""

    def __init__(self, path: str, tokenizer: Tokenizer):
        loaded = adapter.whole(checkpoint.located(path), checkpoint.located, torch.float32)
        MaskedConfig().require(loaded.model)
        require_masks_seen(loaded.manifest, f"the generator {path}")
        if loaded.tokenizer is not None:
            loaded.tokenizer.fingerprint.require(tokenizer.fingerprint, path)
        self.mask, self.special = role(tokenizer, "mask_token", "mask"), torch.from_numpy(special(tokenizer))
        self.model = loaded.model.requires_grad_(False).to(machine.device())

    @torch.no_grad()
    def draw(self, batch: Batch, where: Tensor, draws: np.ndarray) -> Tensor:
        """A token each for the k places `where` [B, T], by uniform draws [k]; never a special one."""
        masked = Batch(batch.ids.masked_fill(where, self.mask), batch.targets, batch.lengths).to(machine.device())
        states, found = self.model.hidden(masked.ids, masked.layout)[where.to(machine.device())], []
        for some, draw in zip(states.split(ROWS), torch.from_numpy(draws).split(ROWS), strict=True):
            scores = self.model.logits(some).cpu().double()[:, : len(self.special)]
            sums = scores.masked_fill(self.special, -torch.inf).softmax(-1).cumsum(-1)
            found.append(torch.searchsorted(sums, (draw * sums[:, -1])[:, None], right=True)[:, 0])
        return torch.cat(found)


class Detect(Reading):
    """Documents packed, some tokens of each replaced; the target of each token is 1 where it is not the original."""

    ahead = 0
    every = False

    def __init__(self, tokenizer: Tokenizer, share: float, generator: Generator | None):
        super().__init__(padding(tokenizer))
        self.share, self.generator, self.special = share, generator, special(tokenizer)
        self._sums: dict[int, tuple[Documents, np.ndarray]] = {}

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        picked = [[self._picked(p, random) for p in row] for row, random in zip(rows, randoms, strict=True)]
        draws = np.concatenate([random.random(sum(map(sum, row))) for row, random in zip(picked, randoms, strict=True)])
        ids = self.laid([[piece.ids for piece in row] for row in rows], self.pad)
        nothing = self.laid([[np.zeros(piece.span.length, np.int64) for piece in row] for row in rows], IGNORE)
        where = self.laid(picked, 0).bool()
        batch = Batch(ids, nothing, lengths(rows))
        if self.generator:
            guesses = self.generator.draw(batch, where, draws)
        else:
            guesses = torch.from_numpy(np.searchsorted(self.sums(rows[0][0].documents), draws, side="right"))
        read = ids.masked_scatter(where, guesses)
        return Batch(read, nothing + (read != ids), batch.lengths)

    def sums(self, documents: Documents) -> np.ndarray:
        """The share of the tokens of the documents whose id is not above each [V], special ones left out."""
        if id(documents) not in self._sums:
            counts = np.where(self.special, 0, documents.tally(len(self.special)))
            self._sums[id(documents)] = documents, np.cumsum(counts) / counts.sum()
        return self._sums[id(documents)][1]

    def _picked(self, piece: Piece, random: np.random.Generator) -> np.ndarray:
        return chosen(piece.mask & ~self.special[piece.ids], self.share, random)
