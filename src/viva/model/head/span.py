"""Where an answer begins and where it ends (BERT, Devlin et al. 2019, section 4.2): two scores for each token."""

from pydantic import Field
from torch import nn

from viva.base.config import Config as BaseConfig
from viva.model.head import tag


class Config(BaseConfig):
    """`dropout` falls before the scores."""

    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, spec: BaseConfig) -> nn.Module:
        return Span(tag.Config(labels=2, dropout=self.dropout), spec.width)


class Span(tag.Tag):
    """[B, T, E] -> scores [B, T, 2]: of the first token of an answer, and of its last."""
