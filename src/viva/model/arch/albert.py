"""ALBERT (Lan et al. 2020, https://arxiv.org/abs/1909.11942): BERT with a factorised table of embeddings (section 3.1)
and one layer's weights for all (section 3.2).
"""

from typing import Any

from pydantic import Field

from viva.model.activation import Activation
from viva.model.arch import bert
from viva.model.arch._family import Keys, held, pairs
from viva.model.spec import Block, Entry, Spec

MODEL_TYPE = "albert"
HEADS = {
    "masked": "AlbertForMaskedLM",
    "none": "AlbertModel",
    "classify": "AlbertForSequenceClassification",
    "tag": "AlbertForTokenClassification",
    "span": "AlbertForQuestionAnswering",
}


class Config(bert.Config):
    """`inner` is the width of the embeddings. No dropout falls on what the feed-forward network adds."""

    inner: int = Field(128, gt=0)
    activation: Activation = "gelu_tanh"

    def block(self) -> Block:
        return super().block().model_copy(update={"ffn_dropout": 0.0})

    def entry(self) -> Entry:
        return super().entry().model_copy(update={"inner": self.inner})

    def spec(self) -> Spec:
        spec = super().spec()
        return spec.model_copy(update={"encoder": spec.encoder.model_copy(update={"share": self.layers})})


def from_hf(keys: Keys) -> Config:
    keys.expect("num_hidden_groups", 1)
    keys.expect("inner_group_num", 1)
    unread = "written by the authors' code, read by nobody"
    keys.ignore(
        **dict.fromkeys(("net_structure_type", "gap_size", "num_memory_blocks", "down_scale_factor"), unread),
        layers_to_keep=unread,
    )
    fields = bert.sizes(keys, hidden=16384, activation="gelu_new", dropout=0.0)
    dropout = dict.fromkeys(("classify", "tag"), keys.take("classifier_dropout_prob", 0.1))
    return Config(
        **fields,
        inner=keys.take("embedding_size", 128),
        head=bert.read_head(keys, HEADS, dropout, dense="tanh"),
    )


def to_hf(config: Config) -> dict[str, Any]:
    head = bert.head_to_hf(config, dropout="classifier_dropout_prob")
    return {**bert.sizes_to_hf(config), **head, "embedding_size": config.inner}


BASE = "albert."
LAYER = "encoder.albert_layer_groups.0.albert_layers.0."
MODULES = {
    "embeddings.LayerNorm": "entry.norm",
    "encoder.embedding_hidden_mapping_in": "entry.project",
    f"{LAYER}attention.query": "layers.0.attention.q",
    f"{LAYER}attention.key": "layers.0.attention.k",
    f"{LAYER}attention.value": "layers.0.attention.v",
    f"{LAYER}attention.dense": "layers.0.attention.out",
    f"{LAYER}attention.LayerNorm": "layers.0.attention_norm",
    f"{LAYER}ffn": "layers.0.ffn.up",
    f"{LAYER}ffn_output": "layers.0.ffn.down",
    f"{LAYER}full_layer_layer_norm": "layers.0.ffn_norm",
}
TENSORS = (
    *bert.tables(BASE),
    *pairs({BASE + theirs: f"encoder.{ours}" for theirs, ours in MODULES.items()}),
    *pairs({"albert.pooler": "head.dense", "classifier": "head.out"}, head="classify"),
    *pairs({"classifier": "head.out"}, head="tag"),
    *pairs({"qa_outputs": "head.out"}, head="span"),
    *pairs({"predictions.dense": "head.dense", "predictions.LayerNorm": "head.norm"}, head="masked"),
    held("predictions.bias", "head.bias", head="masked"),
    *pairs({"sop_classifier.classifier": "head.order"}, head="order"),  # sentence-order prediction, which is set aside
)

TINY = Config(vocab=64, width=32, inner=16, layers=3, heads=4, hidden=48, context=64)
