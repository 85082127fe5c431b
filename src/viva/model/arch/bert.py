"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): an encoder, post-LayerNorm, learned positions, segments,
GELU, pretrained to fill in masked words.
"""

from typing import Any, ClassVar

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.model.activation import Activation
from viva.model.arch._family import (
    Family,
    Keys,
    divided,
    held,
    labels_to_hf,
    name_of,
    of_sequence,
    pairs,
    their_kind,
)
from viva.model.ffn import mlp
from viva.model.head import masked, none, span, tag
from viva.model.norm import layernorm
from viva.model.position import learned
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "bert"
HEADS = {
    "masked": "BertForMaskedLM",
    "none": "BertModel",
    "classify": "BertForSequenceClassification",
    "tag": "BertForTokenClassification",
    "span": "BertForQuestionAnswering",
}
ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "gelu_new": "gelu_tanh", "silu": "silu"}


class Config(Family):
    """`hidden` left out is four times the width. `dropout` falls on residuals and embeddings, and on attention's
    weights unless `weight_dropout` is given.
    """

    between: ClassVar[dict[str, Any]] = {"dense": "tanh"}  # what a classifier has between pooling and scores

    context: int = Field(512, gt=0)
    segments: int = Field(2, ge=1)
    activation: Activation = "gelu"
    eps: float = Field(1e-12, gt=0)
    weight_dropout: float | None = Field(None, ge=0, lt=1)

    @property
    def known_weight_dropout(self) -> float:
        return self.dropout if self.weight_dropout is None else self.weight_dropout

    def block(self) -> Block:
        attention = Attention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=divided(self.width, self.heads),
            causal=False,
            bias=True,
            out_bias=True,
            dropout=self.known_weight_dropout,
        )
        return Block(
            attention=attention,
            ffn=mlp.Config(hidden=self.hidden or 4 * self.width, activation=self.activation),
            norm=layernorm.Config(eps=self.eps),
            norm_at="post",
            dropout=self.dropout,
        )

    def entry(self) -> Entry:
        return Entry(
            segments=self.segments,
            position=learned.Config(),
            norm=layernorm.Config(eps=self.eps),
            dropout=self.dropout,
        )

    def own_head(self):
        return masked.Config(activation=self.activation, norm=layernorm.Config(eps=self.eps))

    def fitted(self, head: BaseConfig) -> BaseConfig:
        if their_kind(head) not in ("classify", "tag"):
            return head
        between = self.between if their_kind(head) == "classify" else {}
        if "dense_dropout" in between:
            between = between | {"dense_dropout": self.dropout}
        return head.model_copy(update={"dropout": self.dropout, **between})

    def spec(self) -> Spec:
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            encoder=Stack(layers=self.layers, blocks=(self.block(),), entry=self.entry(), final_norm=False),
            head=self.head or self.own_head(),
        )


def read_head(
    keys: Keys,
    heads: dict[str, str],
    dropout: dict[str, float],
    others: dict[str, BaseConfig] | None = None,
    **dense: Any,
) -> Any:
    """The head that a config.json of BERT or its kin names; None is the family's own. `dropout` is that of each kind
    of head, `dense` are the fields of `classify` that say what stands between pooling and scores, `others` further
    heads of the family.
    """
    found, labels = keys.head(heads), keys.labels()
    rate = dropout.get(found, 0.0)
    if found == "classify":
        return of_sequence(keys, labels, dropout=rate, **dense)
    if found == "tag":
        return tag.Config(labels=labels, dropout=rate)
    return {"span": span.Config(dropout=rate), "none": none.Config(), **(others or {})}.get(found)


def classifier_dropout(keys: Keys, default: float) -> dict[str, float]:
    """Of both heads that tell classes apart."""
    return dict.fromkeys(("classify", "tag"), keys.take("classifier_dropout", default))


def head_to_hf(config: Config, dropout: str = "classifier_dropout") -> dict[str, Any]:
    """The keys by which BERT and its kin say what their head is; `dropout` is their name of its dropout."""
    labels = labels_to_hf(config.head)
    return labels | ({dropout: config.head.dropout} if labels else {})


def sizes(keys: Keys, hidden: int = 3072, activation: str = "gelu", dropout: float = 0.1) -> dict[str, Any]:
    """The fields that BERT and its kin spell alike; `hidden`, `activation` and `dropout` where config.json leaves them
    out.
    """
    keys.expect("position_embedding_type", "absolute")
    keys.expect("is_decoder", False)
    keys.expect("tie_word_embeddings", True)
    keys.expect("add_cross_attention", False)
    unread = "written by the authors' code, read by nobody"
    keys.ignore(**{key: unread for key in keys.left if key.startswith(("pooler_", "directionality"))})
    return {
        "vocab": keys.take("vocab_size"),
        "width": keys.take("hidden_size"),
        "layers": keys.take("num_hidden_layers"),
        "heads": keys.take("num_attention_heads"),
        "hidden": keys.take("intermediate_size", hidden),
        "context": keys.take("max_position_embeddings", 512),
        "segments": keys.take("type_vocab_size", 2),
        "activation": ACTIVATIONS[keys.expect("hidden_act", *ACTIVATIONS, default=activation)],
        "eps": keys.take("layer_norm_eps", 1e-12),
        "dropout": keys.take("hidden_dropout_prob", dropout),
        "weight_dropout": keys.take("attention_probs_dropout_prob", dropout),
    }


def from_hf(keys: Keys) -> Config:
    fields = sizes(keys)
    return Config(**fields, head=read_head(keys, HEADS, classifier_dropout(keys, fields["dropout"]), dense="tanh"))


def sizes_to_hf(config: Config) -> dict[str, Any]:
    """The keys that BERT and its kin spell alike."""
    return {
        "vocab_size": config.known_vocab,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden or 4 * config.width,
        "max_position_embeddings": config.context,
        "type_vocab_size": config.segments,
        "hidden_act": name_of(config.activation, ACTIVATIONS, "BERT and its kin"),
        "layer_norm_eps": config.eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.known_weight_dropout,
    }


def to_hf(config: Config) -> dict[str, Any]:
    return {**sizes_to_hf(config), **head_to_hf(config)}


def tables(base: str) -> tuple:
    """The rows of the three tables of embeddings."""
    names = {
        "word_embeddings": "embedding",
        "position_embeddings": "encoder.entry.position.table",
        "token_type_embeddings": "encoder.entry.segment",
    }
    return tuple(held(f"{base}embeddings.{theirs}.weight", f"{ours}.weight") for theirs, ours in names.items())


def body(base: str) -> tuple:
    """The rows of the encoder, which BERT and RoBERTa name alike behind `base`."""
    modules = {
        "embeddings.LayerNorm": "entry.norm",
        "encoder.layer.{i}.attention.self.query": "layers.{i}.attention.q",
        "encoder.layer.{i}.attention.self.key": "layers.{i}.attention.k",
        "encoder.layer.{i}.attention.self.value": "layers.{i}.attention.v",
        "encoder.layer.{i}.attention.output.dense": "layers.{i}.attention.out",
        "encoder.layer.{i}.attention.output.LayerNorm": "layers.{i}.attention_norm",
        "encoder.layer.{i}.intermediate.dense": "layers.{i}.ffn.up",
        "encoder.layer.{i}.output.dense": "layers.{i}.ffn.down",
        "encoder.layer.{i}.output.LayerNorm": "layers.{i}.ffn_norm",
    }
    return (*tables(base), *pairs({base + theirs: f"encoder.{ours}" for theirs, ours in modules.items()}))


BASE = "bert."
TENSORS = (
    *body(BASE),
    *pairs({"bert.pooler.dense": "head.dense", "classifier": "head.out"}, head="classify"),
    *pairs({"classifier": "head.out"}, head="tag"),
    *pairs({"qa_outputs": "head.out"}, head="span"),
    *pairs(
        {
            "cls.predictions.transform.dense": "head.dense",
            "cls.predictions.transform.LayerNorm": "head.norm",
        },
        head="masked",
    ),
    held("cls.predictions.bias", "head.bias", head="masked"),
    held(
        "cls.seq_relationship.weight", "head.next.weight", head="next"
    ),  # next-sentence prediction, which is set aside
    held("cls.seq_relationship.bias", "head.next.bias", head="next"),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64)
