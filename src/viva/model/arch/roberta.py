"""RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692): BERT with one segment, whose positions are counted from
behind the id of its padding token, and whose classifier has a layer of its own.
"""

from typing import Any, ClassVar

from pydantic import Field

from viva.model.arch import bert
from viva.model.arch._family import Keys, held, pairs
from viva.model.head import masked
from viva.model.norm import layernorm
from viva.model.position import learned
from viva.model.spec import Entry

MODEL_TYPE = "roberta"
HEADS = {
    "masked": "RobertaForMaskedLM",
    "none": "RobertaModel",
    "classify": "RobertaForSequenceClassification",
    "tag": "RobertaForTokenClassification",
    "span": "RobertaForQuestionAnswering",
}


class Config(bert.Config):
    """`pad` is the id of the padding token: the first place has the row `pad` + 1 of the table of positions.

    Inside a text that token is a place like any other, which transformers does not count.
    """

    between: ClassVar[dict[str, Any]] = {"dense": "tanh", "dense_dropout": 0.0}

    segments: int = Field(1, ge=1)
    eps: float = Field(1e-5, gt=0)
    pad: int = Field(1, ge=0)

    def entry(self) -> Entry:
        return super().entry().model_copy(update={"position": learned.Config(offset=self.pad + 1)})

    def own_head(self):
        return masked.Config(activation="gelu", norm=layernorm.Config(eps=self.eps))


def fields(keys: Keys, heads: dict[str, str]) -> dict[str, Any]:
    """The fields that RoBERTa and XLM-RoBERTa spell alike; `heads` are the family's."""
    found, pad = bert.sizes(keys), keys.take("pad_token_id", 1)
    found["context"] -= pad + 1
    dropout = bert.classifier_dropout(keys, found["dropout"])
    head = bert.read_head(keys, heads, dropout, dense="tanh", dense_dropout=dropout["classify"])
    return {**found, "pad": pad, "head": head}


def from_hf(keys: Keys) -> Config:
    return Config(**fields(keys, HEADS))


def to_hf(config: Config) -> dict[str, Any]:
    places = {"max_position_embeddings": config.context + config.pad + 1, "pad_token_id": config.pad}
    return {**bert.sizes_to_hf(config), **bert.head_to_hf(config), **places}


BASE = "roberta."
TENSORS = (
    *bert.body(BASE),
    *pairs({"classifier.dense": "head.dense", "classifier.out_proj": "head.out"}, head="classify"),
    *pairs({"classifier": "head.out"}, head="tag"),
    *pairs({"qa_outputs": "head.out"}, head="span"),
    *pairs({"lm_head.dense": "head.dense", "lm_head.layer_norm": "head.norm"}, head="masked"),
    held("lm_head.bias", "head.bias", head="masked"),
    *pairs({"roberta.pooler.dense": "head.pooler"}, head="next"),  # untrained, and set aside
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64)
