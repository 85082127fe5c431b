"""A class for each document: its pooled vector, perhaps through a dense layer, to scores (BERT, Devlin et al. 2019)."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.activation import ACTIVATIONS, Activation
from viva.model.layout import Layout
from viva.model.linear.dense import Linear
from viva.model.pool import Pool, pooled


class Scores(BaseConfig):
    """`labels` scores; `dense` is the activation of a layer between pooling and scores, None leaves the layer out. The
    `pool` left out is the model's own: of a Transformer "first" for an encoder and "last" for a decoder, whose last
    token has read all others; of a recurrent or convolutional model, see its family. `dropout` falls before the scores,
    `dense_dropout` before that layer (RoBERTa).
    """

    labels: int = Field(gt=0)
    pool: Pool | None = None
    dense: Activation | None = None
    dropout: float = Field(0.0, ge=0, lt=1)
    dense_dropout: float = Field(0.0, ge=0, lt=1)
    bias: bool = True


class Config(Scores):
    """The fields of `Scores`, one label a class. A document is of one class or, with `several`, of any number: each is
    then told by itself, by the sigmoid of its score.
    """

    several: bool = False

    def build(self, spec: BaseConfig) -> nn.Module:
        return Classify(self, spec.width, self.pool or spec.pool)


class Classify(nn.Module):
    """[B, T, E] -> scores [N, labels] for the N documents."""

    def __init__(self, config: Scores, width: int, pool: Pool):
        super().__init__()
        self.pool = pool
        self.dense = Linear(width, width) if config.dense else None
        self.act = ACTIVATIONS[config.dense] if config.dense else None
        self.dropout, self.dense_dropout = nn.Dropout(config.dropout), nn.Dropout(config.dense_dropout)
        self.out = Linear(width, config.labels, bias=config.bias)

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        x = pooled(hidden, layout, self.pool)
        x = x if self.dense is None else self.act(self.dense(self.dense_dropout(x)))
        return self.out(self.dropout(x))
