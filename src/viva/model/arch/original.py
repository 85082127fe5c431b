"""The Transformer as it was published (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762): post-LayerNorm, ReLU,
sinusoids, one table for source, target and head, times sqrt(E) where it is read. Opened by viva alone.
"""

from typing import Any

from pydantic import Field

from viva.model.activation import Activation
from viva.model.arch import bart
from viva.model.arch._family import Keys
from viva.model.head import lm
from viva.model.position import sinusoidal
from viva.model.spec import Entry, Spec

MODEL_TYPE = "transformer-2017"
HEADS = {"lm": "Transformer"}


class Config(bart.Config):
    """The fields of BART, with the base model of the paper's table 3 as their defaults. `dropout` falls where section
    5.4 puts it, on residuals and on the sums of embeddings and positions.
    """

    width: int = Field(512, gt=0)
    layers: int = Field(6, gt=0)
    heads: int = Field(8, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    scaled: bool = True
    activation: Activation = "relu"

    def entry(self) -> Entry:
        return Entry(scaled=self.scaled, position=sinusoidal.Config(), dropout=self.dropout)

    def spec(self) -> Spec:
        head = self.head or lm.Config(tied=self.tied)
        return super().spec().model_copy(update={"head": head, "init": "xavier"})


def from_hf(keys: Keys) -> Config:
    return Config.model_validate(keys.take("sizes"))


def to_hf(config: Config) -> dict[str, Any]:
    return {"sizes": config.model_dump(mode="json")}


BASE = ""
TENSORS = ()  # our own names: transformers has no such family

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64)
