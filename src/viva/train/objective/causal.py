"""Predict the next token: pretraining, and tuning where the targets are those of the replies."""

from pydantic import Field
from torch import nn

from viva.base.config import Config as Base
from viva.train.batch import Batch
from viva.train.loss.cross_entropy import linear_cross_entropy
from viva.train.objective import Loss, Objective, with_auxiliary


class Config(Base):
    """`smoothing`: the share of each target that is spread over the vocabulary (Szegedy et al. 2016)."""

    smoothing: float = Field(0.0, ge=0, lt=1)

    def build(self) -> Objective:
        """The cross-entropy of the next token in nats, summed over the learned ones; unsmoothed in evaluation.
        In training a mixture of experts adds its own (model/ffn/moe.py).
        """

        def causal(model: nn.Module, batch: Batch) -> Loss:
            hidden = model.hidden(batch.ids, batch.layout)
            smoothing = self.smoothing if model.training else 0.0
            matrix, head, targets = model.head_weight, model.head, batch.targets.flatten()
            states = head.states(hidden).flatten(0, 1)
            total = linear_cross_entropy(states, matrix, targets, smoothing, bias=head.bias, cap=head.cap)
            return with_auxiliary(Loss(total, batch.count), model, batch)

        return causal
