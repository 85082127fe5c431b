"""Preferences learned from answers that were judged one by one (KTO, Ethayarajh et al. 2024,
https://arxiv.org/abs/2402.01306, section 4).
"""

import warnings
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from viva.align.kto import divergence, kto_loss
from viva.align.preference import Answers
from viva.base.config import kind
from viva.base.errors import Notice, Refusal
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_end
from viva.train.objective._answers import Spoken, through, told
from viva.train.objective._frozen import START
from viva.train.objective._reference import Reference, reference
from viva.train.reading import Piece, Reading


class Config(Base):
    """`beta`: how much a nat away from the reference counts. `desirable` and `undesirable` weigh the answers of either
    label, to make up for unequal numbers of them. `reference`: the model that is compared with, a folder, a run or an
    id of the hub, or "start", what the run began from; there is no KTO without one.

    A batch is its own point of reference: each of its prompts is given the answer of the document before, and how much
    likelier these are than to the reference is the divergence. So a batch of 8 is not 8 batches of 1. Nor can the
    reference be asked before the first step, as dpo's with `precompute`: which answer a prompt is given is another in
    each epoch.
    """

    over_batch: ClassVar[bool] = True
    troubles: ClassVar[tuple[str, ...]] = (*Base.troubles, "chance_accuracy")

    beta: float = Field(0.1, gt=0)
    desirable: float = Field(1.0, gt=0)
    undesirable: float = Field(1.0, gt=0)
    reference: str = START

    @field_validator("reference", mode="before")
    @classmethod
    def _some_reference(cls, name: str | None) -> str | None:
        if name is None:
            fix = "leave it out for what the run began from, or name a model; of pairs dpo learns without one"
            raise Refusal("kto must compare with a reference", "objective.reference=null", fix)
        return name

    def reading(self, tokenizer: Tokenizer) -> Reading:
        require_end(tokenizer)
        return Judged(padding(tokenizer))

    def require_rows(self, form: Format) -> None:
        """Refuse rows whose answers nobody judged."""
        if kind(form) != "kto":
            must = "rows must have an answer that is judged good or bad for it to be learned or unlearned"
            raise Refusal(must, f"the format {kind(form)}", "use the format kto")

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed loss of the answers; `accuracy` counts those on the right side of the divergence, `kl`."""
        return Judgement(self, reference(self.reference, ground))


class Judgement:
    """The objective: a group of log-probabilities is an answer."""

    def __init__(self, config: Config, reference: Reference):
        self.config, self.reference = config, reference

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        config, spoken = self.config, Spoken.of(batch)
        expected, kl = self.reference(batch, spoken), self.divergence(model, batch)

        def loss(number: int, logs: Tensor) -> Tensor:
            own = slice(number, number + 1)
            answer = spoken.answers(logs, expected, own)
            return kto_loss(answer, batch.labels[own], kl, config.beta, config.desirable, config.undesirable).sum()

        total, logs = through(model, batch, spoken, spoken.lengths, loss)
        return Loss(total, batch.count, self._measured(spoken.answers(logs, expected), batch.labels, kl))

    def divergence(self, model: nn.Module, batch: Batch) -> Tensor:
        """Of the model from the reference, by answers to prompts that are not theirs."""
        other = mismatched(batch, model.spec.context)
        spoken = Spoken.of(other)
        return divergence(told(model, other, spoken) - self.reference(other, spoken))

    def _measured(self, answers: Answers, good: Tensor, kl: Tensor) -> dict[str, float]:
        """Sums over answers; `margin` is how far their rewards are on the right side of the divergence."""
        beta = self.config.beta
        margin = (2 * good - 1) * beta * (answers.ratio - kl)
        found = {"accuracy": margin > 0, "margin": margin, "reward": beta * answers.ratio, "log_prob": answers.logs}
        return {name: value.sum().item() for name, value in found.items()} | {"kl": kl.item() * len(good)}


def mismatched(batch: Batch, context: int) -> Batch:
    """The documents of a row with the answer of the one before, the first with that of the last; what then reaches
    beyond the model's context is cut, and said.
    """
    ids, targets = batch.ids[0].split(batch.lengths[0]), batch.targets[0].split(batch.lengths[0])
    begins = [int((aims >= 0).nonzero()[0]) for aims in targets]  # where the first token of the answer is predicted
    made = []
    for one, begin in enumerate(begins):
        other = one - 1
        laid = (
            torch.cat([ids[one][: begin + 1], ids[other][begins[other] + 1 :]]),
            torch.cat([targets[one][:begin], targets[other][begins[other] :]]),
        )
        made.append([part[:context] for part in laid])
        if len(laid[0]) > context:
            text = (
                f"answers to prompts of others, by which kto measures kl, are cut at the model's context of {context}"
            )
            warnings.warn(Notice(text), stacklevel=2)
    lengths = (tuple(len(part) for part, _ in made),)
    return Batch(*(torch.cat(parts)[None] for parts in zip(*made, strict=True)), lengths, answers=len(made))


class Judged(Reading):
    """Documents whole, end to end in one row without padding; the answers' tokens are targets, with a label for each
    answer. Another's answer is needed to measure the divergence, so a batch has two documents at least.
    """

    every = False
    whole = True
    least = 2

    def batch(self, rows: Sequence[Sequence[Piece]], randoms: Sequence[np.random.Generator]) -> Batch:
        made = super().batch(rows, randoms)
        labels = torch.tensor([piece.label for row in rows for piece in row], dtype=torch.float32)
        return Batch(made.ids, made.targets, made.lengths, labels=labels, answers=len(labels))
