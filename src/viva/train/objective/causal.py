"""Predict the next token: pretraining, and tuning where the targets are those of the replies."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.recall import Recall
from viva.model.transformer import Transformer
from viva.train.batch import Batch
from viva.train.objective import Base, Ground, Loss, Objective, words


class Config(Base):
    """`smoothing`: the share of each target that is spread over the vocabulary (Szegedy et al. 2016).

    With `segment`, rows are read so many tokens at a time, each time with what the model recalls of the segment before
    (Transformer-XL, Dai et al. 2019, section 3.2); rows are then one document each, so train.pack must be false.
    """

    smoothing: float = Field(0.0, ge=0, lt=1)
    segment: int | None = Field(None, gt=0)

    def require(self, model: Transformer) -> None:
        if model.recalls != (self.segment is not None):
            found = f"{'a' if model.recalls else 'no'} recall, and segment {self.segment}"
            fix = "set objective.segment" if model.recalls else "leave segment out, or use a model such as transfo_xl"
            raise Refusal("a model must recall segments to learn by segments, and only then", found, fix)
        if self.segment is not None and model.of_whole_batch:
            must = "a model that learns by segments must reckon nothing over a batch, for the padding there would count"
            fix = "use another norm, or a balance of 0"
            raise Refusal(must, ", ".join(model.of_whole_batch), fix)
        super().require(model)

    def at_once(self) -> int | None:
        return self.segment

    def build(self, ground: Ground | None = None) -> Objective:
        """The cross-entropy of the next token in nats, summed over the learned ones; unsmoothed in evaluation."""

        def causal(model: nn.Module, batch: Batch) -> Loss:
            smoothing = self.smoothing if model.training else 0.0
            if self.segment is None:
                hidden = model.hidden(batch.ids, batch.layout)
                return Loss(words(model, hidden, batch.targets, smoothing), batch.count, hidden=hidden)
            return Loss(by_segments(model, batch, self.segment, smoothing), batch.count)

        return causal


def by_segments(model: nn.Module, batch: Batch, segment: int, smoothing: float) -> Tensor:
    """The loss of rows that are read `segment` tokens at a time; no gradient flows from one into the one before."""
    if any(len(row) > 1 for row in batch.lengths):
        raise Refusal("rows that are read by segments must be one document each", "several", "set train.pack to false")
    recall, total = Recall(model.stacks[-1].spec.recall), 0.0
    for ids, targets in zip(batch.ids.split(segment, 1), batch.targets.split(segment, 1), strict=True):
        total = total + words(model, model.hidden(ids, recall=recall), targets, smoothing)
    return total
