"""R-Drop: two passes with other dropout are to agree (Liang et al. 2021, https://arxiv.org/abs/2106.14448, eq. 1-4)."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Ground, Loss, Objective
from viva.train.regularise import Base

HEADS = ("classify", "tag")  # whose scores are there in full, class by class


class Config(Base):
    """The loss is the mean of that of both passes and `alpha` times (KL(p1, p2) + KL(p2, p1)) / 2, which records call
    `r_drop`: half of the paper's eq. 4, as in the authors' code, so that the loss stays comparable. Each step costs two
    passes. For classes alone: distributions over a vocabulary are never held whole here.
    """

    alpha: float = Field(1.0, gt=0)

    def wrap(self, objective: Objective, ground: Ground) -> Objective:
        model = ground.model
        if kind(model.spec.head) not in HEADS:
            fix = "leave r_drop out, or train one that tells classes apart"
            raise Refusal(
                "a model must give a few classes for R-Drop to compare", f"the head {kind(model.spec.head)}", fix
            )
        if not any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
            found, fix = "none, so that both are equal", "set it in the model or the head, such as head.dropout=0.1"
            raise Refusal("a model must have dropout for two passes to differ", found, fix)

        def twice(model: nn.Module, batch: Batch) -> Loss:
            if not model.training:
                return objective(model, batch)
            scores: list[Tensor] = []
            with model.head.register_forward_hook(lambda module, given, found: scores.append(found)):
                first, second = objective(model, batch), objective(model, batch)
            apart = disagreement(*scores, batch.targets)
            metrics = {name: (value + second.metrics[name]) / 2 for name, value in first.metrics.items()}
            metrics["r_drop"] = apart.item()
            return Loss((first.sum + second.sum) / 2 + self.alpha * apart, first.count, metrics)

        return twice


def disagreement(one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
    """The sum over learned targets of (KL(p, q) + KL(q, p)) / 2 = sum_c (p_c - q_c) (log p_c - log q_c) / 2, in nats;
    one, other [..., C] are scores.
    """
    learned = targets != IGNORE
    p, q = (scores[learned].float().log_softmax(-1) for scores in (one, other))
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2
