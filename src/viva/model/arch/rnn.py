"""Recurrent models, to compare the Transformer with: from one text to another by the last state alone (Sutskever et al.
2014, https://arxiv.org/abs/1409.3215; Cho et al. 2014, https://arxiv.org/abs/1406.1078), or with attention (Bahdanau et
al. 2015, https://arxiv.org/abs/1409.0473; Luong et al. 2015); language models; taggers and classifiers. Opened by viva
alone.
"""

from typing import Any, Literal

from pydantic import Field

from viva.base.choice import Choice
from viva.model.arch import custom
from viva.model.arch._family import Keys, Sizes
from viva.model.baseline.spec import Recurrence, Spec
from viva.model.head import lm

MODEL_TYPE = "viva-rnn"
HEADS = custom.HEADS


class Config(Sizes):
    """`parts`: "both" turns one text into another, "decoder" reads left to right, "encoder" tags and classifies.

    `cell` and `layers` are those of each part; an encoder `both_ways` reads from the right too. `attention` is the
    score (model/score) by which the decoder reads the encoder's states; left out, the last state is all it knows.
    Classes are told from the last state or, both ways, from the largest of each number, unless the head says otherwise.
    A reply begins with the id `start`; left out, the tokenizer says it.
    """

    layers: int = Field(gt=0)
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    parts: Literal["both", "encoder", "decoder"] = "both"
    both_ways: bool = False
    attention: Choice("viva.model.score") | None = None
    tied: bool = True
    start: int | None = Field(None, ge=0)

    def stack(self, both_ways: bool = False) -> Recurrence:
        return Recurrence(cell=self.cell, layers=self.layers, both_ways=both_ways, dropout=self.dropout)

    def spec(self) -> Spec:
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            encoder=None if self.parts == "decoder" else self.stack(self.both_ways),
            decoder=None if self.parts == "encoder" else self.stack(self.both_ways and self.parts == "decoder"),
            attention=self.attention,
            head=self.head or lm.Config(tied=self.tied),
            dropout=self.dropout,
        )


def from_hf(keys: Keys) -> Config:
    return Config.model_validate(keys.take("sizes"))


def to_hf(config: Config) -> dict[str, Any]:
    return {"sizes": config.model_dump(mode="json")}


BASE, TENSORS = "", ()  # our own names

TINY = Config(vocab=64, width=32, layers=2, context=64, both_ways=True, attention="additive")
