"""DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108): half of BERT's layers, without segments, taught by
the whole.
"""

from typing import Any, ClassVar

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.model.arch import bert
from viva.model.arch._family import Keys, held, labels_to_hf, name_of, pairs, their_kind
from viva.model.spec import Block, Entry

MODEL_TYPE = "distilbert"
HEADS = {
    "masked": "DistilBertForMaskedLM",
    "none": "DistilBertModel",
    "classify": "DistilBertForSequenceClassification",
    "tag": "DistilBertForTokenClassification",
    "span": "DistilBertForQuestionAnswering",
}
# the keys of the heads' dropout and their defaults; that of `tag` is the model's own
DROPOUT = {"classify": ("seq_classif_dropout", 0.2), "span": ("qa_dropout", 0.1)}


class Config(bert.Config):
    """As in `bert`, but no dropout falls on what attention adds."""

    between: ClassVar[dict[str, Any]] = {"dense": "relu"}

    segments: int = Field(0, ge=0, le=0)

    def block(self) -> Block:
        return super().block().model_copy(update={"dropout": 0.0, "ffn_dropout": self.dropout})

    def entry(self) -> Entry:
        return super().entry().model_copy(update={"segments": 0})


def from_hf(keys: Keys) -> Config:
    keys.expect("tie_word_embeddings", True)
    keys.expect("tie_weights_", True)
    keys.ignore(sinusoidal_pos_embds="fills the table of positions before training; the file holds it")
    dropout = {"tag": keys.take("dropout", 0.1)}
    dropout |= {kind: keys.take(name, default) for kind, (name, default) in DROPOUT.items()}
    return Config(
        vocab=keys.take("vocab_size"),
        width=keys.take("dim", 768),
        layers=keys.take("n_layers", 6),
        heads=keys.take("n_heads", 12),
        hidden=keys.take("hidden_dim", 3072),
        context=keys.take("max_position_embeddings", 512),
        activation=bert.ACTIVATIONS[keys.expect("activation", *bert.ACTIVATIONS)],
        dropout=dropout["tag"],
        weight_dropout=keys.take("attention_dropout", 0.1),
        head=bert.read_head(keys, HEADS, dropout, dense="relu"),
    )


def to_hf(config: Config) -> dict[str, Any]:
    own = {} if config.head is None else _head_to_hf(config.head)
    return {
        "vocab_size": config.known_vocab,
        "dim": config.width,
        "n_layers": config.layers,
        "n_heads": config.heads,
        "hidden_dim": config.hidden or 4 * config.width,
        "max_position_embeddings": config.context,
        "activation": name_of(config.activation, bert.ACTIVATIONS, MODEL_TYPE),
        "attention_dropout": config.known_weight_dropout,
        "dropout": config.dropout,
        **own,
    }


def _head_to_hf(head: BaseConfig) -> dict[str, Any]:
    return labels_to_hf(head) | ({DROPOUT[their_kind(head)][0]: head.dropout} if their_kind(head) in DROPOUT else {})


BASE = "distilbert."
MODULES = {
    "embeddings.LayerNorm": "entry.norm",
    "transformer.layer.{i}.attention.q_lin": "layers.{i}.attention.q",
    "transformer.layer.{i}.attention.k_lin": "layers.{i}.attention.k",
    "transformer.layer.{i}.attention.v_lin": "layers.{i}.attention.v",
    "transformer.layer.{i}.attention.out_lin": "layers.{i}.attention.out",
    "transformer.layer.{i}.sa_layer_norm": "layers.{i}.attention_norm",
    "transformer.layer.{i}.ffn.lin1": "layers.{i}.ffn.up",
    "transformer.layer.{i}.ffn.lin2": "layers.{i}.ffn.down",
    "transformer.layer.{i}.output_layer_norm": "layers.{i}.ffn_norm",
}
TENSORS = (
    *bert.tables(BASE),
    *pairs({BASE + theirs: f"encoder.{ours}" for theirs, ours in MODULES.items()}),
    *pairs({"pre_classifier": "head.dense", "classifier": "head.out"}, head="classify"),
    *pairs({"classifier": "head.out"}, head="tag"),
    *pairs({"qa_outputs": "head.out"}, head="span"),
    *pairs({"vocab_transform": "head.dense", "vocab_layer_norm": "head.norm"}, head="masked"),
    held("vocab_projector.bias", "head.bias", head="masked"),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64)
