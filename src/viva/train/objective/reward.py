"""A reward model: which of two answers to a prompt is preferred (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155,
equation 1).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from viva.align.bradley_terry import bradley_terry, off_center
from viva.base.config import Config as BaseConfig
from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.head import regress
from viva.model.transformer import Transformer
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_head, require_one_side
from viva.train.objective._sides import Sides
from viva.train.reading import Piece


class Config(Base):
    """`margin`: by how much a chosen answer is to be better, one number for all pairs, or "row", what the rows say in
    `format.degree` (Touvron et al. 2023). `votes`: `format.degree` says the share of judges who prefer the chosen one.
    `center`: what (r_w + r_l)^2 weighs, 0.01 in Eisenstein et al. 2023.
    """

    heads: ClassVar[tuple[str, ...]] = ("regress",)
    troubles: ClassVar[tuple[str, ...]] = (*Base.troubles, "chance_accuracy")

    margin: Annotated[float, Field(ge=0)] | Literal["row"] = 0.0
    votes: bool = False
    center: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.votes and self.margin == "row":
            raise ValueError("format.degree is the share of judges or the margin: leave out votes, or margin")
        return self

    def reading(self, tokenizer: Tokenizer) -> "Compared":
        return Compared(padding(tokenizer), self._by_degree, 1.0 if self.votes else np.inf)

    def head(self, form: Format) -> BaseConfig | None:
        return regress.Config()

    def require(self, model: Transformer) -> None:
        require_head(model, "a model must have a head for numbers to tell what answers are worth", *self.heads)
        require_one_side(model)

    def require_rows(self, form: Format) -> None:
        """Refuse rows without two answers, and a degree that is not used or not there."""
        if kind(form) != "preference":
            must = "rows must have two answers to a prompt for one to be preferred"
            raise Refusal(must, f"the format {kind(form)}", "use the format preference")
        if form.degree is None and self._by_degree:
            must = "rows must say how much a chosen answer is preferred, for objective.margin=row or objective.votes"
            raise Refusal(must, "format.degree left out", "name the field of the number in format.degree")
        if form.degree is not None and not self._by_degree:
            fix = "set objective.margin to row, or objective.votes to true, or leave format.degree out"
            raise Refusal("format.degree must be a margin or a share of votes", "neither", fix)

    @property
    def _by_degree(self) -> bool:
        return self.votes or self.margin == "row"

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed loss of the pairs; `accuracy` counts those whose chosen answer is worth more."""

        def reward(model: nn.Module, batch: Batch) -> Loss:
            rewards = model(batch.ids, batch.layout)
            rewards = rewards.to(torch.promote_types(rewards.dtype, torch.float32))
            chosen, rejected = rewards[0::2], rewards[1::2]
            margin = batch.labels if self.margin == "row" else self.margin
            losses = bradley_terry(chosen, rejected, margin, batch.labels if self.votes else 1.0)
            if self.center:
                losses = losses + self.center * off_center(chosen, rejected)
            return Loss(losses.sum(), batch.count, _measured(chosen, rejected))

        return reward


class Compared(Sides):
    """Documents of two wholes become two each, end to end in one row, and each is read to its end. A batch of n
    documents has n targets: pairs. With `degrees`, its labels are what rows say of them, at most `most`.
    """

    unread = 0

    def __init__(self, pad: int, degrees: bool = False, most: float = np.inf):
        super().__init__(pad)
        self.degrees, self.most = degrees, most

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        pieces = [piece for row in rows for piece in row]
        wholes = [ids for piece in pieces for ids in (piece.ids[: piece.cut], piece.ids[piece.cut :])]
        labels = torch.tensor([self._degree(piece) for piece in pieces]) if self.degrees else None
        pairs = torch.arange(len(pieces))
        lengths = (tuple(map(len, wholes)),)
        return Batch(self.laid([wholes], self.pad), pairs, lengths, answers=len(pieces), labels=labels)

    def _degree(self, piece: Piece) -> float:
        if not 0 <= piece.label <= self.most:
            must = f"the degree of document {piece.span.document} must be a number from 0 to {self.most:g}"
            raise Refusal(must, piece.label, "mend the field that format.degree names")
        return piece.label


def _measured(chosen: Tensor, rejected: Tensor) -> dict[str, float]:
    """Sums over pairs."""
    found = {
        "accuracy": chosen > rejected,
        "margin": chosen - rejected,
        "reward": (chosen + rejected) / 2,
        "chosen_reward": chosen,
        "rejected_reward": rejected,
    }
    return {name: value.sum().item() for name, value in found.items()}
