"""The next token's scores: a product with the token embeddings, or with a matrix of its own."""

from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.head import Vocabulary


class Config(BaseConfig):
    """`tied` uses the token embeddings (Press and Wolf 2017, https://arxiv.org/abs/1608.05859). `scaled` multiplies the
    states by 1 / sqrt(E) first (T5), `bias` adds one number a token, `cap` bounds the scores softly (Gemma 2).
    """

    tied: bool = True
    bias: bool = False
    scaled: bool = False
    cap: float | None = Field(None, gt=0)

    def build(self, spec: BaseConfig) -> nn.Module:
        if self.tied and spec.inner != spec.width:
            found = f"{spec.inner} for width {spec.width}"
            fix = "set tied to false, or use the head `masked`, which projects back"
            raise Refusal("a tied head must find vectors of the model's width", found, fix)
        return LM(self, spec.vocab, spec.width)


class LM(Vocabulary):
    """scores = scale h W^T + b."""

    def __init__(self, config: Config, vocab: int, width: int):
        super().__init__(vocab, width, config.tied, config.bias, config.cap)
        self.scale = width**-0.5 if config.scaled else None

    def states(self, hidden: Tensor) -> Tensor:
        return hidden if self.scale is None else hidden * self.scale
