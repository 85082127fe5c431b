"""A class for each token: names, parts of speech (BERT, Devlin et al. 2019, section 5.3)."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout
from viva.model.linear.dense import Linear


class Config(BaseConfig):
    """`labels` classes."""

    labels: int = Field(gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    bias: bool = True

    def build(self, spec: BaseConfig) -> nn.Module:
        return Tag(self, spec.width)


class Tag(nn.Module):
    """[B, T, E] -> scores [B, T, labels]."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.out = Linear(width, config.labels, bias=config.bias)

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        return self.out(self.dropout(hidden))
