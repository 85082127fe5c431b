"""Where an answer begins and where it ends (BERT, Devlin et al. 2019, section 4.2): two scores for each token."""

from pydantic import Field
from torch import nn

from viva.base.config import Config as BaseConfig
from viva.model.head import tag


class Config(BaseConfig):
    """`dropout` falls before the scores."""

    dropout: float = Field(0.0, ge=0, lt=1)

    def build(self, spec: BaseConfig) -> nn.Module:
        return tag.Tag(tag.Config(labels=2, dropout=self.dropout), spec.width)
