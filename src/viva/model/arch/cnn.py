"""A convolutional encoder (Kim 2014, https://arxiv.org/abs/1408.5882), to compare the Transformer with: classes by the
largest of each filter over the text, tags by those at each token. Opened by viva alone.
"""

from typing import Any

from pydantic import Field

from viva.model.arch import custom
from viva.model.arch._family import Keys, Sizes
from viva.model.baseline.spec import Convolution, Spec
from viva.model.head import none

MODEL_TYPE = "viva-cnn"
HEADS = custom.HEADS


class Config(Sizes):
    """The width is that of the embeddings and of all filters together: Kim's 300, 100 for each of three `windows`."""

    windows: tuple[int, ...] = Field((3, 4, 5), min_length=1)

    def spec(self) -> Spec:
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            encoder=Convolution(windows=self.windows),
            head=self.head or none.Config(),
            dropout=self.dropout,
        )


def from_hf(keys: Keys) -> Config:
    return Config.model_validate(keys.take("sizes"))


def to_hf(config: Config) -> dict[str, Any]:
    return {"sizes": config.model_dump(mode="json")}


BASE, TENSORS = "", ()  # our own names

TINY = Config(vocab=64, width=30, context=64)
