"""Preferences learned from pairs of answers, without a reward model (direct preference optimisation, Rafailov et al.
2023, https://arxiv.org/abs/2305.18290, and its kin: `loss` says which).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator
from torch import Tensor, nn

from viva.align import preference
from viva.align.preference import Answers, sigmoid
from viva.base.choice import Choice
from viva.base.config import kind
from viva.base.errors import Refusal
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.data import Data
from viva.train.objective import Base, Ground, Loss, Objective, padding, require_end
from viva.train.objective._answers import Spoken, through
from viva.train.objective._frozen import START
from viva.train.objective._reference import Reference, Remembered, reference
from viva.train.objective._sides import Sides
from viva.train.precision import Precision
from viva.train.reading import Reading


class Config(Base):
    """`loss`: what is learned of a pair. `reference`: the model that is compared with, a folder, a run or an id of the
    hub; "start", what the run began from; or null, as if all answers were as likely to it. Losses that compare with no
    reference leave it unread. With `precompute` it reads all pairs before the first step, each once, and what it gives
    them is kept in the run's folder.
    """

    troubles: ClassVar[tuple[str, ...]] = (*Base.troubles, "chance_accuracy", "displacement")

    loss: Choice("viva.align.preference", usual="sigmoid") = sigmoid.Config()
    reference: str | None = START
    precompute: bool = False

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        if not self.loss.compares and self.reference not in (START, None):
            raise ValueError(f"the loss {kind(self.loss)} compares with no reference: leave reference out")
        if self.precompute and not self._compares:
            raise ValueError("precompute asks a reference, but there is none: leave precompute out")
        return self

    @property
    def _compares(self) -> bool:
        return self.loss.compares and self.reference is not None

    def reading(self, tokenizer: Tokenizer) -> Reading:
        require_end(tokenizer)
        return Sides(padding(tokenizer))

    def require_rows(self, form: Format) -> None:
        """Refuse rows without two answers to compare."""
        if kind(form) != "preference":
            must = "rows must have two answers to a prompt for one to be preferred"
            raise Refusal(must, f"the format {kind(form)}", "use the format preference")
        if form.degree is not None:
            found, fix = f"format.degree={form.degree}", "leave format.degree out"
            raise Refusal("a loss of preferences must be given verdicts alone", found, fix)

    def build(self, ground: Ground | None = None) -> Objective:
        """The summed loss of the pairs; `accuracy` counts those whose chosen answer has the higher reward."""
        if not self._compares:
            return Preference(self.loss)
        found = reference(self.reference, ground, stays=not self.precompute)
        return Preference(self.loss, Remembered(found) if self.precompute else found)


class Preference:
    """The objective: a group of log-probabilities is a pair, the chosen answer first."""

    def __init__(self, loss: preference.Base, reference: Reference | Remembered | None = None):
        self.loss, self.reference = loss, reference

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        spoken = Spoken.of(batch)
        expected = None if self.reference is None else self.reference(batch, spoken)

        def loss(pair: int, logs: Tensor) -> Tensor:
            both = spoken.answers(logs, expected, slice(2 * pair, 2 * pair + 2))
            return self.loss.loss(both[0], both[1])

        groups = [sum(both) for both in zip(spoken.lengths[0::2], spoken.lengths[1::2], strict=True)]
        total, logs = through(model, batch, spoken, groups, loss)
        found = spoken.answers(logs, expected)
        return Loss(total, batch.count, _measured(self.loss, found[0::2], found[1::2]))

    def prepare(self, run: Path, data: Iterable[Data], precision: Precision) -> None:
        """Ask a reference that remembers, before the first step."""
        if isinstance(self.reference, Remembered):
            self.reference.prepare(run, data, precision)


def _measured(loss: preference.Base, chosen: Answers, rejected: Answers) -> dict[str, float]:
    """Sums over pairs: rewards, how far apart they are and how often the right way round, and log-probabilities."""
    better, worse = loss.reward(chosen), loss.reward(rejected)
    found = {
        "accuracy": better > worse,
        "margin": better - worse,
        "chosen_reward": better,
        "rejected_reward": worse,
        "chosen_log_prob": chosen.logs,
        "rejected_log_prob": rejected.logs,
    }
    return {name: value.sum().item() for name, value in found.items()}
