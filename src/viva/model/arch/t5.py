"""T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683): an encoder and a decoder, pre-RMSNorm, buckets of relative
positions, no bias anywhere and no scale on scores, pretrained to fill in spans. Version 1.1 gates its feed-forward
networks and has a head of its own.
"""

from typing import Any

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.base.config import kind
from viva.model.activation import Activation
from viva.model.arch._family import Family, Keys, divided, held, name_of
from viva.model.ffn import glu, mlp
from viva.model.head import lm
from viva.model.norm import rmsnorm
from viva.model.position import none, t5
from viva.model.score import dot
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "t5"
HEADS = {"lm": "T5ForConditionalGeneration"}
FFNS = {  # their name: whether it is gated, and the activation
    "relu": (False, "relu"),
    "gelu": (False, "gelu"),
    "silu": (False, "silu"),
    "gated-gelu": (True, "gelu_tanh"),
    "gated-relu": (True, "relu"),
    "gated-silu": (True, "silu"),
}


class Config(Family):
    """`head_dim` left out is width / heads, `hidden` four times the width, `decoder_layers` as many as `layers`.

    A `tied` head multiplies the states by 1 / sqrt(E) first. One `dropout` for weights, residuals, embeddings, the
    inside of the feed-forward networks and the last states. A reply begins with the id `start`; left out, the tokenizer
    says it. `context` is pretraining's; nothing bounds the length.
    """

    context: int = Field(512, gt=0)
    decoder_layers: int | None = Field(None, gt=0)
    head_dim: int | None = Field(None, gt=0)
    position: t5.Config = t5.Config()
    activation: Activation = "relu"
    gated: bool = False
    eps: float = Field(1e-6, gt=0)
    tied: bool = True
    start: int | None = Field(None, ge=0)

    def attention(self, causal: bool, position: BaseConfig) -> Attention:
        return Attention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=self.head_dim or divided(self.width, self.heads),
            causal=causal,
            score=dot.Config(scale=1.0),
            position=position,
            dropout=self.dropout,
        )

    def stack(self, layers: int, decodes: bool) -> Stack:
        ffn = (glu if self.gated else mlp).Config(
            hidden=self.hidden or 4 * self.width, activation=self.activation, bias=False, dropout=self.dropout
        )
        block = Block(
            attention=self.attention(causal=decodes, position=self.position),
            cross=self.attention(causal=False, position=none.Config()) if decodes else None,
            ffn=ffn,
            norm=rmsnorm.Config(eps=self.eps),
            dropout=self.dropout,
        )
        return Stack(layers=layers, blocks=(block,), entry=Entry(dropout=self.dropout), dropout=self.dropout)

    def spec(self) -> Spec:
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            encoder=self.stack(self.layers, decodes=False),
            decoder=self.stack(self.decoder_layers or self.layers, decodes=True),
            head=self.head or lm.Config(tied=self.tied, scaled=self.tied),
            init="fan_in",
        )


def from_hf(keys: Keys) -> Config:
    """Version 1.1 is told by `tie_word_embeddings`: false, or, where transformers 5 has written the file, by
    `scale_decoder_outputs`: false beside a `tie_word_embeddings` that is always true there. If its head is tied all the
    same, which config.json does not tell, it is refused for the matrix that the file lacks.
    """
    keys.expect("is_encoder_decoder", True)  # without, their decoder keeps what it reads of the encoder as its own past
    keys.ignore(
        dense_act_fn="follows from feed_forward_proj",
        is_gated_act="follows from feed_forward_proj",
        initializer_factor="used when training starts anew",
        classifier_dropout="belongs to a classification head",
        output_past="the caller chooses",
    )
    tied = keys.take("tie_word_embeddings", True)
    gated, activation = FFNS[keys.expect("feed_forward_proj", *FFNS)]
    return Config(
        vocab=keys.take("vocab_size", 32128),
        width=keys.take("d_model", 512),
        layers=keys.take("num_layers", 6),
        decoder_layers=keys.take("num_decoder_layers", None),
        heads=keys.take("num_heads", 8),
        head_dim=keys.take("d_kv", 64),
        hidden=keys.take("d_ff", 2048),
        context=keys.take("n_positions", 512),
        position=t5.Config(
            buckets=keys.take("relative_attention_num_buckets", 32),
            farthest=keys.take("relative_attention_max_distance", 128),
        ),
        activation=activation,
        gated=gated,
        eps=keys.take("layer_norm_epsilon", 1e-6),
        dropout=keys.take("dropout_rate", 0.1),
        tied=keys.take("scale_decoder_outputs", tied),
        start=keys.take("decoder_start_token_id", None),
    )


def to_hf(config: Config) -> dict[str, Any]:
    spec = config.spec()
    block = spec.encoder.blocks[0]
    return {
        "is_encoder_decoder": True,
        "decoder_start_token_id": config.start,
        "vocab_size": spec.vocab,
        "d_model": spec.width,
        "num_layers": spec.encoder.layers,
        "num_decoder_layers": spec.decoder.layers,
        "num_heads": block.attention.heads,
        "d_kv": block.attention.head_dim,
        "d_ff": block.ffn.hidden,
        "n_positions": spec.context,
        "relative_attention_num_buckets": config.position.buckets,
        "relative_attention_max_distance": config.position.farthest,
        "feed_forward_proj": name_of((config.gated, config.activation), FFNS, MODEL_TYPE),
        "layer_norm_epsilon": config.eps,
        "dropout_rate": config.dropout,
        "tie_word_embeddings": config.tied,
    }


def _gated(spec: Spec) -> bool:
    return kind(spec.decoder.blocks[0].ffn) == "glu"


def _layers(stack: str, parts: tuple[str, ...]) -> tuple:
    """The rows of a stack whose blocks consist of `parts`, in this order."""
    names = {"attention": "SelfAttention", "cross": "EncDecAttention", "ffn": "DenseReluDense"}
    matrices = {"q": "q", "k": "k", "v": "v", "o": "out"}
    rows = []
    for number, part in enumerate(parts):
        base, ours = f"{stack}.block.{{i}}.layer.{number}.", f"{stack}.layers.{{i}}.{part}"
        inside = f"{base}{names[part]}."
        rows.append(held(f"{base}layer_norm.weight", f"{ours}_norm.weight"))
        if part == "ffn":
            rows += [
                held(f"{inside}wi.weight", f"{ours}.up.weight", when=lambda spec: not _gated(spec)),
                held(f"{inside}wi_0.weight", f"{ours}.gate.weight", when=_gated),
                held(f"{inside}wi_1.weight", f"{ours}.up.weight", when=_gated),
                held(f"{inside}wo.weight", f"{ours}.down.weight"),
            ]
        else:
            rows += [held(f"{inside}{theirs}.weight", f"{ours}.{mine}.weight") for theirs, mine in matrices.items()]
    table = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    return (
        *rows,
        held(table, f"{stack}.positions.0.bucket.weight"),
        held(f"{stack}.final_layer_norm.weight", f"{stack}.norm.weight"),
    )


BASE = ""
UNREAD = (".EncDecAttention.relative_attention_bias.weight",)  # in Google's first checkpoints
TENSORS = (
    held("shared.weight", "embedding.weight"),
    held("lm_head.weight", "head.weight"),
    *_layers("encoder", ("attention", "ffn")),
    *_layers("decoder", ("attention", "cross", "ffn")),
)

# with buckets so few that the text of a test reaches beyond the farthest
TINY = Config(
    vocab=64,
    width=32,
    layers=2,
    decoder_layers=3,
    heads=4,
    head_dim=16,
    hidden=48,
    position=t5.Config(buckets=8, farthest=10),
)
