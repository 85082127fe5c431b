"""BART (Lewis et al. 2020, https://arxiv.org/abs/1910.13461): an encoder and a decoder, post-LayerNorm, learned
positions, GELU, one table of embeddings, pretrained to undo noise.
"""

from typing import Any

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.model.activation import Activation
from viva.model.arch._family import Family, Keys, divided, held, name_of, pairs
from viva.model.ffn import mlp
from viva.model.head import lm
from viva.model.norm import layernorm
from viva.model.position import learned
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "bart"
HEADS = {"lm": "BartForConditionalGeneration"}
ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "swish": "silu", "silu": "silu", "gelu_new": "gelu_tanh"}


class Config(Family):
    """`layers`, `heads` and `hidden` are the encoder's and, unless given again, the decoder's; `hidden` left out is
    four times the width. `dropout` falls on residuals and embeddings, `weight_dropout` on attention's weights,
    `inner_dropout` inside the feed-forward networks.
    A reply begins with the id `start`; left out, the tokenizer says it.
    """

    decoder_layers: int | None = Field(None, gt=0)
    decoder_heads: int | None = Field(None, gt=0)
    decoder_hidden: int | None = Field(None, gt=0)
    scaled: bool = False
    activation: Activation = "gelu"
    weight_dropout: float = Field(0.0, ge=0, lt=1)
    inner_dropout: float = Field(0.0, ge=0, lt=1)
    tied: bool = True
    start: int | None = Field(None, ge=0)

    def attention(self, heads: int, causal: bool) -> Attention:
        return Attention(
            heads=heads,
            kv_heads=heads,
            head_dim=divided(self.width, heads),
            causal=causal,
            bias=True,
            out_bias=True,
            dropout=self.weight_dropout,
        )

    def block(self, heads: int, hidden: int | None, decodes: bool) -> Block:
        hidden = hidden or 4 * self.width
        return Block(
            attention=self.attention(heads, causal=decodes),
            cross=self.attention(heads, causal=False) if decodes else None,
            ffn=mlp.Config(hidden=hidden, activation=self.activation, dropout=self.inner_dropout),
            norm=self.norm(),
            norm_at="post",
            dropout=self.dropout,
        )

    def norm(self) -> BaseConfig:
        return layernorm.Config()

    def entry(self) -> Entry:
        position = learned.Config(offset=2)
        return Entry(scaled=self.scaled, position=position, norm=self.norm(), dropout=self.dropout)

    def spec(self) -> Spec:
        encoder = self.block(self.heads, self.hidden, decodes=False)
        decoder = self.block(self.decoder_heads or self.heads, self.decoder_hidden or self.hidden, decodes=True)
        stack = lambda layers, block: Stack(layers=layers, blocks=(block,), entry=self.entry(), final_norm=False)  # noqa: E731
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            encoder=stack(self.layers, encoder),
            decoder=stack(self.decoder_layers or self.layers, decoder),
            head=self.head or lm.Config(tied=self.tied, bias=True),
        )


def sizes(keys: Keys) -> dict[str, Any]:
    """The fields that BART and Marian spell alike."""
    for name in ("encoder_layerdrop", "decoder_layerdrop"):
        keys.expect(name, 0.0)
    for name in ("normalize_before", "add_bias_logits", "add_final_layer_norm"):
        keys.expect(name, False)
    keys.ignore(
        force_bos_token_to_be_generated="used by generation alone",
        classifier_dropout="belongs to a classification head",
        classif_dropout="belongs to a classification head",
        init_std="used when training starts anew",
        num_hidden_layers="the same as encoder_layers",
        save_step="says when the file was written",
    )
    return {
        "vocab": keys.take("vocab_size"),
        "width": keys.take("d_model", 1024),
        "context": keys.take("max_position_embeddings", 1024),
        "layers": keys.take("encoder_layers", 12),
        "heads": keys.take("encoder_attention_heads", 16),
        "hidden": keys.take("encoder_ffn_dim", 4096),
        "decoder_layers": keys.take("decoder_layers", 12),
        "decoder_heads": keys.take("decoder_attention_heads", 16),
        "decoder_hidden": keys.take("decoder_ffn_dim", 4096),
        "activation": ACTIVATIONS[keys.expect("activation_function", *ACTIVATIONS)],
        "scaled": keys.take("scale_embedding", False),
        "dropout": keys.take("dropout", 0.1),
        "weight_dropout": keys.take("attention_dropout", 0.0),
        "inner_dropout": keys.take("activation_dropout", 0.0),
        "tied": keys.expect("tie_word_embeddings", True),
        "start": keys.take("decoder_start_token_id", 2),
    }


def from_hf(keys: Keys) -> Config:
    keys.expect("static_position_embeddings", False)
    keys.expect("normalize_embedding", True)
    keys.expect("extra_pos_embeddings", 2)
    return Config(**sizes(keys))


def sizes_to_hf(config: Config) -> dict[str, Any]:
    """The keys that BART and Marian spell alike."""
    hidden = config.hidden or 4 * config.width
    return {
        "is_encoder_decoder": True,
        "vocab_size": config.known_vocab,
        "d_model": config.width,
        "max_position_embeddings": config.context,
        "encoder_layers": config.layers,
        "encoder_attention_heads": config.heads,
        "encoder_ffn_dim": hidden,
        "decoder_layers": config.decoder_layers or config.layers,
        "decoder_attention_heads": config.decoder_heads or config.heads,
        "decoder_ffn_dim": config.decoder_hidden or hidden,
        "activation_function": name_of(config.activation, ACTIVATIONS, "BART and Marian"),
        "scale_embedding": config.scaled,
        "dropout": config.dropout,
        "attention_dropout": config.weight_dropout,
        "activation_dropout": config.inner_dropout,
        "decoder_start_token_id": config.start,
    }


def to_hf(config: Config) -> dict[str, Any]:
    return sizes_to_hf(config)


def layers(base: str) -> tuple:
    """The rows of both stacks' layers, which BART and Marian name alike behind `base`."""
    shared = {
        "self_attn.q_proj": "attention.q",
        "self_attn.k_proj": "attention.k",
        "self_attn.v_proj": "attention.v",
        "self_attn.out_proj": "attention.out",
        "self_attn_layer_norm": "attention_norm",
        "fc1": "ffn.up",
        "fc2": "ffn.down",
        "final_layer_norm": "ffn_norm",
    }
    crossing = {
        "encoder_attn.q_proj": "cross.q",
        "encoder_attn.k_proj": "cross.k",
        "encoder_attn.v_proj": "cross.v",
        "encoder_attn.out_proj": "cross.out",
        "encoder_attn_layer_norm": "cross_norm",
    }
    stacks = {"encoder": shared, "decoder": shared | crossing}
    return tuple(
        row
        for stack, modules in stacks.items()
        for row in pairs(
            {f"{base}{stack}.layers.{{i}}.{theirs}": f"{stack}.layers.{{i}}.{ours}" for theirs, ours in modules.items()}
        )
    )


BASE = "model."
ZEROS = ("final_logits_bias",)  # what a file may leave out, as that of a bare BartModel does
TENSORS = (
    held("model.shared.weight", "embedding.weight"),
    held("final_logits_bias", "head.bias", flat=1),
    *(
        row
        for stack in ("encoder", "decoder")
        for row in (
            held(f"model.{stack}.embed_positions.weight", f"{stack}.entry.position.table.weight"),
            *pairs({f"model.{stack}.layernorm_embedding": f"{stack}.entry.norm"}),
        )
    ),
    *layers(BASE),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64, decoder_layers=3, decoder_heads=2)
