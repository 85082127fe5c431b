"""What a teacher knows, learned by a smaller model: its answers with their probabilities (Hinton et al. 2015,
https://arxiv.org/abs/1503.02531) and, if wanted, what it makes of a text on the way there (TinyBERT, Jiao et al. 2019).
"""

import warnings
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, model_validator
from torch import Tensor, nn

from viva.base.choice import variant
from viva.base.config import Config as BaseConfig
from viva.base.errors import Notice, Refusal
from viva.model import folder
from viva.model.head import Vocabulary
from viva.model.whole import Whole
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.loss.imitation import Blend, Scored, imitation, linear_imitation
from viva.train.objective import Base, Ground, Loss, require_head
from viva.train.objective._filling import require_masks_seen
from viva.train.objective._frozen import Frozen
from viva.train.objective._layers import Likeness, States, Weights
from viva.train.reading import Reading


class Logits(BaseConfig):
    """`weight` of the divergence from the teacher's distribution at the `temperature`, times its square. `beta`: 0 is
    KL(teacher || student), 1 the reverse, what lies between the generalised Jensen-Shannon divergence.
    """

    weight: NonNegativeFloat = 0.5
    temperature: float = Field(2.0, gt=0)
    beta: float = Field(0.0, ge=0, le=1)


class Config(Base):
    """`teacher`, a folder, a run or a model of the hub, stays as it is; it must have the tokenizer of the run.

    `task` is the objective whose documents, targets and head these are. The loss is the weighed sum of `hard`, the
    cross-entropy of the task's own targets, of `logits`, of `hidden`, the states of layers, and of `attention`, their
    attention weights. Any student learns from logits, a recurrent one too (Tang et al. 2019,
    https://arxiv.org/abs/1903.12136).
    """

    teacher: str
    task: Literal["causal", "masked", "classify"] = "causal"
    hard: NonNegativeFloat = 0.5
    logits: Logits = Logits()
    hidden: States = States()
    attention: Weights = Weights()

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not any((self.hard, self.logits.weight, self.hidden.weight, self.attention.weight)):
            raise ValueError("must give one of hard, logits, hidden and attention a weight, or nothing is learned")
        return self

    @property
    def own(self) -> Base:
        """The task by itself."""
        return variant("viva.train.objective", self.task).Config()

    @property
    def heads(self) -> tuple[str, ...]:
        return tuple(name for name in self.own.heads if name != "regress")  # a value has no distribution

    def reading(self, tokenizer: Tokenizer) -> Reading:
        reading = self.own.reading(tokenizer)
        reading.every = False  # the loss is no cross-entropy alone, so it tells no bits a byte
        return reading

    def head(self, form: Format) -> BaseConfig | None:
        return self.own.head(form)

    def require(self, model: Whole) -> None:
        self.require_its_recall(model)
        self.own.require(model)
        require_head(model, "a model must score several answers to learn how likely each is", *self.heads)

    def require_rows(self, form: Format) -> None:
        self.own.require_rows(form)

    def require_classes(self, model: Whole, form: Format) -> None:
        self.own.require_classes(model, form)
        names, theirs = form.classes(), folder.labels(checkpoint.located(self.teacher))
        if names is not None and theirs is not None and names != theirs:
            fix = f"set format.labels to [{', '.join(theirs)}]"
            raise Refusal("teacher and student must number the same classes alike", f"{theirs} and {names}", fix)

    def asked(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return self.own.asked(tokenizer)

    def build(self, ground: Ground | None = None) -> "Distill":
        """The summed loss; the parts without their weights as `hard`, `soft`, `hidden` and `attention`."""
        teacher = Frozen(self.teacher, ground, "the teacher", rows=False)
        if self.task == "masked":
            require_masks_seen(folder.manifest(teacher.path) or {}, f"the teacher {self.teacher}")
        self.require_teacher(teacher.model, ground.model)
        return Distill(self, ground.model, teacher)

    def require_teacher(self, teacher: Whole, student: Whole) -> None:
        """Refuse a teacher that cannot do the task, or tells other classes apart; of tables of two sizes, say so."""
        try:
            self.require(teacher)
        except Refusal as refusal:
            fix = f"name another teacher, or another task than {self.task}"
            raise Refusal(f"of the teacher {self.teacher}: {refusal.must}", refusal.found, fix) from None
        mine, theirs = answers(student), answers(teacher)
        if mine != theirs and self.task == "classify":
            fix = "use a teacher of the same classes"
            raise Refusal("teacher and student must tell the same classes apart", f"{theirs} and {mine}", fix)
        if mine != theirs:
            text = (
                f"the teacher scores {theirs:,} tokens and the student {mine:,}: both are asked for the first of them"
            )
            warnings.warn(Notice(f"{text}, {min(mine, theirs):,}"), stacklevel=2)


class Distill(nn.Module):
    """The objective, with the maps that it learns beside the student."""

    def __init__(self, config: Config, student: Whole, teacher: Frozen):
        super().__init__()
        self.config, self.teacher = config, teacher
        self.likeness = Likeness(config.hidden, config.attention, student, teacher.model)
        logits = config.logits
        self.how = Blend(config.hard, logits.weight, logits.beta, logits.temperature)

    def forward(self, model: Whole, batch: Batch) -> Loss:
        teacher = self.teacher.model
        require_room(teacher, batch, self.config.teacher)
        mine, theirs = self.likeness.seen(model, teacher, batch)
        total, metrics = torch.zeros((), device=mine.last.device), {}
        if self.how.hard or self.how.soft:
            learn = of_classes if self.config.task == "classify" else of_words
            total, metrics = learn(model, teacher, mine.last, theirs.last, batch, self.how)
        share = shares(batch)
        for name, far in self.likeness.of(mine, theirs).items():
            found = (share * far).sum()
            total = total + getattr(self.config, name).weight * found
            metrics[name] = found.item()
        return Loss(total, batch.count, metrics)


def of_words(
    model: Whole, teacher: Whole, mine: Tensor, theirs: Tensor, batch: Batch, how: Blend
) -> tuple[Tensor, dict[str, float]]:
    """The loss of the words to be learned, of the vocabulary that both models score."""
    learned, size = batch.targets != IGNORE, min(answers(model), answers(teacher))
    student, aims = (scored(one, last[learned], size) for one, last in ((model, mine), (teacher, theirs)))
    total, parts = linear_imitation(student, aims, batch.targets[learned], how)
    return total, dict(zip(("hard", "soft"), parts.tolist(), strict=True))


def of_classes(
    model: Whole, teacher: Whole, mine: Tensor, theirs: Tensor, batch: Batch, how: Blend
) -> tuple[Tensor, dict[str, float]]:
    """The loss of the documents' classes; `agreement` is how many the student tells as the teacher does."""
    with torch.no_grad():
        aims = teacher.head(theirs, teacher.embedding.weight, batch.layout).float()
    scores, targets = model.head(mine, model.embedding.weight, batch.layout).float(), batch.targets.long()
    total, parts = imitation(scores, aims, targets, how)
    found = scores.argmax(-1)
    right = {"accuracy": found == targets, "agreement": found == aims.argmax(-1)}
    named = dict(zip(("hard", "soft"), parts.tolist(), strict=True))
    return total, named | {name: float(each.sum()) for name, each in right.items()}


def scored(model: Whole, states: Tensor, size: int) -> Scored:
    """States [N, E] with what scores the first `size` tokens."""
    head: Vocabulary = model.head
    bias = None if head.bias is None else head.bias[:size]
    return Scored(head.states(states), model.head_weight[:size], bias, head.cap)


def answers(model: Whole) -> int:
    """How many answers a model scores: its classes, or the tokens that it has a row for."""
    return len(model.head_weight) if isinstance(model.head, Vocabulary) else model.spec.head.labels


def shares(batch: Batch) -> Tensor:
    """What a token counts of the batch's targets [B, T]: 1 where it has one itself; of a document's, its share. They
    add up to the count, however documents are put together.
    """
    if batch.targets.shape == batch.ids.shape:
        return (batch.targets != IGNORE).float()
    T = batch.ids.shape[1]
    rows = [torch.cat([torch.full((n,), 1 / n) for n in row] + [torch.zeros(T - sum(row))]) for row in batch.lengths]
    return torch.stack(rows).to(batch.ids.device)


def require_room(teacher: Whole, batch: Batch, name: str) -> None:
    """Refuse a document that is longer than the teacher reads."""
    if batch.layout.end > teacher.spec.context:
        found, fix = f"one of {batch.layout.end}", f"lower train.context to {teacher.spec.context}"
        raise Refusal(f"documents must be of at most the {teacher.spec.context} tokens that {name} reads", found, fix)
