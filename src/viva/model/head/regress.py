"""A number for each document: the head of one class, without the axis."""

from typing import Literal

from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.head import classify
from viva.model.layout import Layout


class Config(classify.Scores):
    """The fields of `classify.Scores`; there is one label, whose score is the number."""

    labels: Literal[1] = 1

    def build(self, spec: BaseConfig) -> nn.Module:
        return Regress(self, spec.width, self.pool or spec.pool)


class Regress(classify.Classify):
    """[B, T, E] -> [N]."""

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        return super().forward(hidden, table, layout)[:, 0]
