"""LLaMA 1 to 3 (Touvron et al. 2023, https://arxiv.org/abs/2302.13971; Dubey et al. 2024): pre-RMSNorm, RoPE, SwiGLU,
no biases.
"""

from typing import Any

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.model.arch import _decoder, _rope
from viva.model.arch._family import Family, Keys, divided, held
from viva.model.ffn import glu
from viva.model.head import lm
from viva.model.norm import rmsnorm
from viva.model.position import rope
from viva.model.spec import Attention, Block, Spec, Stack

MODEL_TYPE = "llama"
HEADS = _decoder.heads("Llama")


class Kin(Family):
    """What LLaMA and its kin share. `kv_heads` left out is `heads`, `head_dim` width / heads, `hidden` 8/3 of the width
    rounded up to a multiple of 64.
    """

    kv_heads: int | None = Field(None, gt=0)
    head_dim: int | None = Field(None, gt=0)
    position: rope.Config = rope.Config()
    eps: float = Field(1e-6, gt=0)
    tied: bool = True

    def attention(self) -> Attention:
        return Attention(
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_dim=self.head_dim or divided(self.width, self.heads),
            position=self.position,
            dropout=self.dropout,
        )

    def block(self) -> Block:
        hidden = self.hidden or -(-8 * self.width // (3 * 64)) * 64
        return Block(attention=self.attention(), ffn=glu.Config(hidden=hidden), norm=rmsnorm.Config(eps=self.eps))

    def blocks(self) -> tuple[Block, ...]:
        return (self.block(),)

    def fitted(self, head: BaseConfig) -> BaseConfig:
        return _decoder.fitted(head, self.dropout)

    def spec(self) -> Spec:
        decoder = Stack(layers=self.layers, blocks=self.blocks())
        head = self.head or lm.Config(tied=self.tied)
        return Spec(vocab=self.known_vocab, width=self.width, context=self.context, decoder=decoder, head=head)


class Config(Kin):
    """`bias` is that of the projections of attention, `ffn_bias` that of the feed-forward networks."""

    bias: bool = False
    ffn_bias: bool = False

    def attention(self) -> Attention:
        return super().attention().model_copy(update={"bias": self.bias, "out_bias": self.bias})

    def block(self) -> Block:
        block = super().block()
        return block.model_copy(update={"ffn": block.ffn.model_copy(update={"bias": self.ffn_bias})})


def sizes(
    keys: Keys, heads: dict[str, str], context: int = 2048, kv_heads: int | None = None, tied: bool = False
) -> dict[str, Any]:
    """The fields that LLaMA and its kin spell alike; `heads` are the family's, `context`, `kv_heads` and `tied` hold
    where config.json leaves them out.
    """
    keys.expect("hidden_act", "silu")
    context = keys.take("max_position_embeddings", context)
    count = keys.take("num_attention_heads")
    tied = keys.take("tie_word_embeddings", tied)
    return {
        "vocab": keys.take("vocab_size"),
        "width": keys.take("hidden_size"),
        "layers": keys.take("num_hidden_layers"),
        "heads": count,
        "kv_heads": keys.take("num_key_value_heads", kv_heads or count, null=count),
        "hidden": keys.take("intermediate_size"),
        "context": context,
        "position": _rope.read(keys, context),
        "eps": keys.take("rms_norm_eps", 1e-6),
        "tied": tied,
        "dropout": keys.take("attention_dropout", 0.0),
        "head": _decoder.read_head(keys, heads, tied),
    }


def from_hf(keys: Keys) -> Config:
    keys.ignore(
        pretraining_tp="splits a product in parts, computes the same",
        mlp_only="unused by the family",
        max_sequence_length="read by nobody; max_position_embeddings is another key",
    )
    return Config(
        **sizes(keys, HEADS),
        head_dim=keys.take("head_dim", None),
        bias=keys.take("attention_bias", False),
        ffn_bias=keys.take("mlp_bias", False),
    )


def sizes_to_hf(config: Config) -> dict[str, Any]:
    """The keys that LLaMA and its kin spell alike."""
    spec = config.spec()
    block = spec.decoder.blocks[0]
    return {
        "vocab_size": spec.vocab,
        "hidden_size": spec.width,
        "num_hidden_layers": spec.decoder.layers,
        "num_attention_heads": block.attention.heads,
        "num_key_value_heads": block.attention.kv_heads,
        "intermediate_size": block.ffn.hidden,
        "hidden_act": "silu",
        "max_position_embeddings": spec.context,
        **_rope.write(config.position, config.context),
        "rms_norm_eps": config.eps,
        "attention_dropout": config.dropout,
        **_decoder.head_to_hf(spec.head),
    }


def to_hf(config: Config) -> dict[str, Any]:
    own = {
        "head_dim": config.attention().head_dim,
        "attention_bias": config.bias,
        "mlp_bias": config.ffn_bias,
    }
    return {**sizes_to_hf(config), **own}


BASE = "model."
TENSORS = (
    held("model.embed_tokens.weight", "embedding.weight"),
    held("model.norm.weight", "decoder.norm.weight"),
    held("lm_head.weight", "head.weight"),
    held("model.layers.{i}.input_layernorm.weight", "decoder.layers.{i}.attention_norm.weight"),
    held("model.layers.{i}.post_attention_layernorm.weight", "decoder.layers.{i}.ffn_norm.weight"),
    *(
        held(f"model.layers.{{i}}.{theirs}.{part}", f"decoder.layers.{{i}}.{ours}.{part}")
        for theirs, ours in {
            "self_attn.q_proj": "attention.q",
            "self_attn.k_proj": "attention.k",
            "self_attn.v_proj": "attention.v",
            "self_attn.o_proj": "attention.out",
            "mlp.gate_proj": "ffn.gate",
            "mlp.up_proj": "ffn.up",
            "mlp.down_proj": "ffn.down",
        }.items()
        for part in ("weight", "bias")
    ),
    *_decoder.head_rows(),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=64, tied=False)
