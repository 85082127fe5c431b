"""R-Drop: two passes with other dropout are to agree (Liang et al. 2021, https://arxiv.org/abs/2106.14448, eq. 1-4)."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.loss.disagreement import disagreement, linear_disagreement
from viva.train.objective import Ground, Loss, Objective
from viva.train.regularise import Base

CLASSES = ("classify", "tag")  # heads whose scores are there in full
WORDS = ("lm", "masked")  # heads whose scores are too large for that


class Config(Base):
    """The loss is the mean of that of both passes and `alpha` times (KL(p1, p2) + KL(p2, p1)) / 2, which records call
    `r_drop`: half of the paper's eq. 4, as in the authors' code, so that the loss stays comparable. Each step costs two
    passes. Of classes, and of words where the loss is the cross-entropy of each: by the objectives causal, infill,
    prefix, masked, seq2seq, denoise and spans.
    """

    alpha: float = Field(1.0, gt=0)

    def wrap(self, objective: Objective, ground: Ground) -> Objective:
        model = ground.model
        if (head := kind(model.spec.head)) not in (*CLASSES, *WORDS):
            fix = "leave r_drop out, or train one that tells classes or words"
            raise Refusal("a model must give distributions for R-Drop to compare", f"the head {head}", fix)
        if not any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
            found, fix = "none, so that both are equal", "set it in the model or the head, such as head.dropout=0.1"
            raise Refusal("a model must have dropout for two passes to differ", found, fix)

        def twice(model: nn.Module, batch: Batch) -> Loss:
            if not model.training:
                return objective(model, batch)
            scores: list[Tensor] = []
            with model.head.register_forward_hook(lambda module, given, found: scores.append(found)):
                first, second = objective(model, batch), objective(model, batch)
            apart = of_classes(*scores, batch.targets) if head in CLASSES else of_words(model, batch, first, second)
            metrics = {name: (value + second.metrics[name]) / 2 for name, value in first.metrics.items()}
            metrics["r_drop"] = apart.item()
            return Loss((first.sum + second.sum) / 2 + self.alpha * apart, first.count, metrics)

        return twice


def of_classes(one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
    """The sum over learned targets of (KL(p, q) + KL(q, p)) / 2, in nats; one, other [..., C] are scores."""
    learned = targets != IGNORE
    return disagreement(one[learned].float(), other[learned].float())


def of_words(model: nn.Module, batch: Batch, *passes: Loss) -> Tensor:
    """The same of words, by the scores of the states of both passes; refused where a loss does not tell these."""
    if any(each.hidden is None for each in passes):
        fix = "leave r_drop out, or take an objective that learns each word by its cross-entropy"
        raise Refusal("a loss must tell of which states words are scored for R-Drop to compare them", "none", fix)
    head, learned = model.head, batch.targets != IGNORE
    states = (head.states(each.hidden[learned]) for each in passes)
    return linear_disagreement(*states, model.head_weight, head.bias, head.cap)
