"""BERT's head for masked words (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): a dense layer, an activation, a
norm, and a product with the token embeddings.
"""

from typing import Self

from pydantic import model_validator
from torch import Tensor, nn

from viva.base.choice import Choice
from viva.base.config import Config as BaseConfig
from viva.model.activation import ACTIVATIONS, Activation
from viva.model.head import Vocabulary
from viva.model.linear.dense import Linear
from viva.model.norm import layernorm, require_alone


class Config(BaseConfig):
    """The dense layer maps E to the width of the table, which may be factorised; `tied` as in lm."""

    activation: Activation = "gelu"
    norm: Choice("viva.model.norm") = layernorm.Config(eps=1e-12)
    tied: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_alone(self.norm, "the head for masked words")
        return self

    def build(self, spec: BaseConfig) -> nn.Module:
        return Masked(self, spec.vocab, spec.width, spec.inner)


class Masked(Vocabulary):
    """scores = norm(act(h D + d)) W^T + b."""

    def __init__(self, config: Config, vocab: int, width: int, inner: int):
        super().__init__(vocab, inner, config.tied, bias=True)
        self.dense = Linear(width, inner)
        self.act = ACTIVATIONS[config.activation]
        self.norm = config.norm.build(inner)

    def states(self, hidden: Tensor) -> Tensor:
        return self.norm(self.act(self.dense(hidden)))
