"""What the loop is given, and what it changes: the settings, the parts of a run, and its state."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from viva.base.choice import Choice
from viva.train.average import Average
from viva.train.data import Batching, Data
from viva.train.experience import Experience
from viva.train.objective import Objective, together
from viva.train.optim import adamw
from viva.train.precision import Name, Precision
from viva.train.schedule import cosine
from viva.train.vitals import Health

LENGTHS = ("steps", "epochs", "minutes")


class Train(Batching):
    """How to train. Exactly one of `steps`, `epochs` and `minutes` says how long.

    `lr` is the peak that the schedule is multiplied onto; `clip` bounds the global norm of the gradient, 0 does not.
    `eval_every` and `save_every` count steps, and there is a save at least every `save_minutes`; `patience`:
    evaluations in a row without a lower held-out loss before the run stops; `keep`: checkpoints kept beside the best,
    which is that of the lowest held-out loss. `recompute` trades a second forward for memory (Chen et al. 2016). `ema`:
    the decay of a moving average of the weights, which is evaluated and saved in their place. `freeze` names parts of
    the model that are not trained, such as `encoder` or `decoder.layers.0`. `rates` multiply the rate of parts by such
    names, in which * stands for any characters, also of what the objective learns, such as `objective.critic`; `decays`
    are weight decays for them, and `layer_decay` lowers the rate from block to block (train/rates.py). `regularise`:
    what is done in training against learning by heart, one after another. `health`: by what the run is told to be in
    trouble.
    """

    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    minutes: PositiveFloat | None = None
    lr: PositiveFloat = 3e-4
    optim: Choice("viva.train.optim") = adamw.Config()
    schedule: Choice("viva.train.schedule") = cosine.Config()
    clip: NonNegativeFloat = 1.0
    precision: Name = "auto"
    eval_every: PositiveInt | None = None
    save_every: PositiveInt | None = None
    save_minutes: PositiveFloat = 10.0
    patience: PositiveInt | None = None
    keep: PositiveInt = 2
    ema: float | None = Field(None, gt=0, lt=1)
    freeze: tuple[str, ...] = ()
    rates: dict[str, PositiveFloat] = Field(default_factory=dict)
    decays: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    layer_decay: float | None = Field(None, gt=0, le=1)
    regularise: tuple[Choice("viva.train.regularise"), ...] = ()
    health: Health = Health()
    recompute: bool = False
    compile: bool = False
    tensorboard: bool = False
    device: str | None = Field(None, pattern="^(cpu|cuda)$")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"must have exactly one of {', '.join(LENGTHS)}, but has {' and '.join(given) or 'none'}")
        if self.patience and not self.eval_every:
            raise ValueError("patience counts evaluations, but eval_every is not set")
        return self


@dataclass
class State:
    """How far a run is. Everything here is saved as JSON; what is not here is a function of the seed and the step.

    `steps`: where the run ends, None while a run of `minutes` has not measured its pace; `best`: the lowest
    held-out loss, reached at `best_step`; `stale`: evaluations since; `tokens`: read so far.
    """

    step: int = 0
    steps: int | None = None
    tokens: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0


@dataclass(frozen=True)
class Job:
    """The parts of a run; `regularised`: the objective as training computes it, where that differs; `average` of the
    weights, where one is kept; `beside`: as of `Ground`. `save(state)` writes a checkpoint; `log(state, record)` takes
    what a step measured.
    """

    folder: Path
    model: nn.Module
    optimizer: torch.optim.Optimizer
    data: Data | Experience
    objective: Objective
    precision: Precision
    train: Train
    valid: Data | Experience | None = None
    seed: int = 0
    regularised: Objective | None = None
    average: Average | None = None
    beside: Sequence[Callable[[], Sequence[Tensor]]] = ()
    save: Callable[[State], object] = lambda state: None
    log: Callable[[State, dict[str, Any]], None] = lambda state, record: None

    def used(self) -> AbstractContextManager:
        """The model computes, inside, with the weights that are evaluated and saved: the average, if there is one."""
        return nullcontext() if self.average is None else self.average.used()

    @property
    def learned(self) -> nn.Module:
        """The model, and what the objective learns beside it."""
        return together(self.model, self.objective)
