"""Objectives, one a file: what a model learns from documents, and how they are read for it.

`Config.reading(tokenizer)` says how documents become a batch (train/reading.py), `Config.build(ground)` gives a
function of (model, batch) that returns a `Loss`. `Config.heads` are the kinds of head by which it can be learned, and
`Config.head(form)` is the one to give a model that ends in another, `Config.troubles` those that a run is watched for
(train/health), `Config.over_batch` says that the loss of a batch is not the sum of its rows', and `Config.asked` what
the model's folder must say for it to be asked as it was trained. An objective that learns numbers of its
own beside the model's, such as a map between two widths, is a module: they are trained, saved and resumed with the
model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.ffn.moe import auxiliary
from viva.model.head import Vocabulary
from viva.model.transformer import Transformer
from viva.text.cache.documents import Documents
from viva.text.rows.fields import Format
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.batch import Batch
from viva.train.data import Data
from viva.train.experience import Experience
from viva.train.loss.cross_entropy import linear_cross_entropy
from viva.train.precision import Precision
from viva.train.reading import Reading


@dataclass(frozen=True)
class Loss:
    """A sum over `count` targets, for the loop to divide by the count of all batches; `metrics` are sums too. Of words
    alone, `hidden`: the states [B, T, E] by which those of the batch's targets were told.
    """

    sum: Tensor
    count: int
    metrics: dict[str, float] = field(default_factory=dict)
    hidden: Tensor | None = None


def with_auxiliary(loss: Loss, model: nn.Module, batch: Batch) -> Loss:
    """The loss and those that the model itself adds in training, which are means over the batch's tokens."""
    added = auxiliary(model, batch.layout)
    measured = {name: value.item() * loss.count for name, value in added.items()}
    return Loss(loss.sum + loss.count * sum(added.values()), loss.count, loss.metrics | measured) if added else loss


Drawn = tuple[Data | Experience, Data | Experience | None]
# One may have a method `prepare(run, data, precision)`, what it does once before the first step.
Objective = Callable[[nn.Module, Batch], Loss]


def together(model: nn.Module, objective: Objective) -> nn.Module:
    """All that a run trains: the parts of the model under their own names, and an objective that is a module."""
    if not isinstance(objective, nn.Module):
        return model
    whole = nn.Module()
    for name, part in model.named_children():
        whole.add_module(name, part)
    for name, parameter in model.named_parameters(recurse=False):
        whole.register_parameter(name, parameter)
    whole.add_module("objective", objective)
    return whole


@dataclass(frozen=True)
class Ground:
    """What an objective stands on: the documents to be learned, the tokenizer they were made with, the model at the
    start, and `parent`, the folder or the hub's id that its first weights came from; None of a new model. `objective`
    is what was built on it, for lessons that are made with what it has learned. `beside`: what gives the tensors of
    each model that stays in memory beside the one that learns, for who counts them.
    """

    documents: Documents
    tokenizer: Tokenizer
    model: Transformer
    parent: str | None = None
    objective: Objective | None = None
    beside: list[Callable[[], Sequence[Tensor]]] = field(default_factory=list)


class Base(Config):
    """The base of each file's Config."""

    heads: ClassVar[tuple[str, ...]] = ("lm", "masked")
    over_batch: ClassVar[bool] = False
    troubles: ClassVar[tuple[str, ...]] = ("loss_stuck", "loss_spike", "loss_blow_up", "gradient_growth")

    def reading(self, tokenizer: Tokenizer) -> Reading:
        """How documents become a batch; by default left to right, packed."""
        require_end(tokenizer)
        return Reading(padding(tokenizer))

    def head(self, form: Format) -> Config | None:
        """The head to give a model whose own is none of `heads`; None where the model's own must serve."""
        return None

    def require(self, model: Transformer) -> None:
        """Refuse a model that cannot learn this; by default one that does not score the vocabulary left to right."""
        require_vocabulary(model)
        if model.decoder is None or model.encoder is not None:
            found = "an encoder alone" if model.decoder is None else "an encoder and a decoder"
            fix = "use the objective masked, or classify" if model.decoder is None else "use the objective seq2seq"
            raise Refusal("a model must be a decoder to predict the next token", found, fix)
        self.require_its_recall(model)

    def require_its_recall(self, model: Transformer) -> None:
        """Refuse a model that recalls segments where rows are read whole."""
        if model.recalls and self.at_once() is None:
            fix = "use causal with a segment, or another model"
            raise Refusal("a model that recalls segments must learn by them", f"the objective {kind(self)}", fix)

    def at_once(self) -> int | None:
        """How many tokens of a row are read at once, with what the model recalls of those before; None: all of them."""
        return None

    def require_rows(self, form: Format) -> None:
        """Refuse rows that this would misread; by default those with answers of which not all are to be imitated."""
        if form.judged:
            must = "an objective must tell good answers from bad ones to learn from rows that judge them"
            fix = "use a format whose rows hold the good answers alone, such as prompt or messages"
            raise Refusal(must, f"the format {kind(form)} and an objective that learns every answer", fix)

    def require_classes(self, model: Transformer, form: Format) -> None:
        """Refuse a model whose head does not fit the classes of the rows; by default there are none."""

    def drawn(self, train: Data, valid: Data | None, ground: Ground, precision: Precision) -> Drawn:
        """What batches are drawn from, and what the run is judged by: the data or, of a policy, its own replies."""
        return train, valid

    def asked(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What a folder must say for a model that learned this to be asked alike: fields of `infer.trained.Trained`."""
        return {}

    def build(self, ground: Ground | None = None) -> Objective:
        """The function; `ground` for who counts the documents, or compares with another model."""
        raise NotImplementedError


def padding(tokenizer: Tokenizer) -> int:
    """The id that fills rows; never learned, never seen by a token that is."""
    return tokenizer.pad_id or 0


def require_end(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer without an end token, by which a model that writes text learns to stop."""
    if tokenizer.eos_id is None:
        must = "a tokenizer must name an end token, or a model never learns to stop"
        raise Refusal(must, "none", 'set "eos_token" in tokenizer_config.json')


def require_head(model: Transformer, must: str, *kinds: str) -> None:
    """Refuse a model whose head is of none of these kinds."""
    if kind(model.spec.head) not in kinds:
        raise Refusal(must, f"the head {kind(model.spec.head)}", f"set head to {', or to '.join(kinds)}")


def require_one_side(model: Transformer) -> None:
    """Refuse a model that reads a text for another to be written: it has no states of one text alone."""
    if model.encoder is not None and model.decoder is not None:
        fix = "use a family of encoders such as bert, or a decoder"
        raise Refusal("a model must be an encoder or a decoder to read one text", "an encoder and a decoder", fix)


def require_vocabulary(model: Transformer) -> None:
    """Refuse a model whose head does not score the vocabulary."""
    require_head(model, "a model must score its vocabulary to predict words", *Base.heads)


def words(model: Transformer, hidden: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The summed cross-entropy of the head's scores for states [..., E] and targets [...]; no logits are kept."""
    head, learned = model.head, targets.flatten() >= 0
    states, aims = hidden.flatten(0, -2), targets.flatten()
    if type(head).states is not Vocabulary.states:
        states, aims = states[learned], aims[learned]  # what the head does first is done for learned tokens alone
    states = head.states(states)
    return linear_cross_entropy(states, model.head_weight, aims, smoothing, bias=head.bias, cap=head.cap)
