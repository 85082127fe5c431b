"""Predict the next token: pretraining, and tuning where the targets are those of the replies."""

from pydantic import Field
from torch import nn

from viva.text.documents import Documents
from viva.train.batch import Batch
from viva.train.objective import Base, Loss, Objective, words


class Config(Base):
    """`smoothing`: the share of each target that is spread over the vocabulary (Szegedy et al. 2016)."""

    smoothing: float = Field(0.0, ge=0, lt=1)

    def build(self, documents: Documents | None = None) -> Objective:
        """The cross-entropy of the next token in nats, summed over the learned ones; unsmoothed in evaluation."""

        def causal(model: nn.Module, batch: Batch) -> Loss:
            hidden = model.hidden(batch.ids, batch.layout)
            return Loss(words(model, hidden, batch.targets, self.smoothing if model.training else 0.0), batch.count)

        return causal
