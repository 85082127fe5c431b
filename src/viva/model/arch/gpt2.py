"""GPT-2 (Radford et al. 2019): pre-LayerNorm, learned positions, GELU, a bias on every projection, tied embeddings."""

from typing import Any

from pydantic import Field

from viva.base.config import Config as BaseConfig
from viva.model.arch import _decoder
from viva.model.arch._family import Family, Keys, divided, held, pairs
from viva.model.ffn import mlp
from viva.model.head import lm
from viva.model.norm import layernorm
from viva.model.position import learned
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "gpt2"
HEADS = _decoder.heads("GPT2", "LMHeadModel")


class Body(Family):
    """What is below the head. `hidden` left out is four times the width; one `dropout` for attention, residuals and
    embeddings.
    """

    eps: float = Field(1e-5, gt=0)

    def block(self) -> Block:
        attention = Attention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=divided(self.width, self.heads),
            bias=True,
            out_bias=True,
            dropout=self.dropout,
        )
        return Block(
            attention=attention,
            ffn=mlp.Config(hidden=self.hidden or 4 * self.width, activation="gelu_tanh"),
            norm=layernorm.Config(eps=self.eps),
            dropout=self.dropout,
        )

    def stack(self) -> Stack:
        entry = Entry(position=learned.Config(), dropout=self.dropout)
        return Stack(layers=self.layers, blocks=(self.block(),), entry=entry)


class Config(Body):
    """The fields of the body; a `tied` head multiplies by the token embeddings."""

    tied: bool = True

    def spec(self) -> Spec:
        head = self.head or lm.Config(tied=self.tied)
        return Spec(vocab=self.known_vocab, width=self.width, context=self.context, decoder=self.stack(), head=head)

    def fitted(self, head: BaseConfig) -> BaseConfig:
        return _decoder.fitted(head, self.dropout)


def sizes(keys: Keys, heads: dict[str, str]) -> dict[str, Any]:
    """The fields that GPT and GPT-2 spell alike; `heads` are the family's."""
    tied = keys.take("tie_word_embeddings", True)
    dropout = keys.take("resid_pdrop", 0.1)
    keys.expect("attn_pdrop", dropout, default=0.1)
    keys.expect("embd_pdrop", dropout, default=0.1)
    keys.expect("n_special", 0)
    keys.ignore(
        n_ctx="the same as n_positions",
        predict_special_tokens="read by nobody",
        summary_type="belongs to a classification head",
        summary_use_proj="belongs to a classification head",
        summary_activation="belongs to a classification head",
        summary_first_dropout="belongs to a classification head",
        summary_proj_to_labels="belongs to a classification head",
    )
    return {
        "vocab": keys.take("vocab_size"),
        "width": keys.take("n_embd"),
        "layers": keys.take("n_layer"),
        "heads": keys.take("n_head"),
        "context": keys.take("n_positions"),
        "eps": keys.take("layer_norm_epsilon", 1e-5),
        "tied": tied,
        "dropout": dropout,
        "head": _decoder.read_head(keys, heads, tied),
    }


def from_hf(keys: Keys) -> Config:
    keys.expect("activation_function", "gelu_new", "gelu_pytorch_tanh")
    keys.expect("scale_attn_weights", True)
    keys.expect("scale_attn_by_inverse_layer_idx", False)
    keys.expect("add_cross_attention", False)
    keys.ignore(reorder_and_upcast_attn="changes rounding alone")
    return Config(**sizes(keys, HEADS), hidden=keys.take("n_inner", None))


def sizes_to_hf(config: Config) -> dict[str, Any]:
    """The keys that GPT and GPT-2 spell alike."""
    return {
        "vocab_size": config.known_vocab,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_positions": config.context,
        "layer_norm_epsilon": config.eps,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        **_decoder.head_to_hf(config.spec().head),
    }


def to_hf(config: Config) -> dict[str, Any]:
    return {**sizes_to_hf(config), "n_inner": config.hidden, "activation_function": "gelu_new"}


def layers() -> tuple:
    """The rows of the layers, which GPT and GPT-2 name alike. Linear maps are stored [in, out], and one of them holds
    queries, keys and values.
    """
    maps = {
        "attn.c_attn": ("attention.q", "attention.k", "attention.v"),
        "attn.c_proj": ("attention.out",),
        "mlp.c_fc": ("ffn.up",),
        "mlp.c_proj": ("ffn.down",),
    }
    return (
        *pairs(
            {
                "transformer.h.{i}.ln_1": "decoder.layers.{i}.attention_norm",
                "transformer.h.{i}.ln_2": "decoder.layers.{i}.ffn_norm",
            }
        ),
        *(
            held(
                f"transformer.h.{{i}}.{theirs}.{part}",
                *(f"decoder.layers.{{i}}.{name}.{part}" for name in ours),
                transposed=part == "weight",
            )
            for theirs, ours in maps.items()
            for part in ("weight", "bias")
        ),
    )


BASE = "transformer."
TENSORS = (
    held("transformer.wte.weight", "embedding.weight"),
    held("transformer.wpe.weight", "decoder.entry.position.table.weight"),
    held("lm_head.weight", "head.weight"),
    *pairs({"transformer.ln_f": "decoder.norm"}),
    *layers(),
    *_decoder.head_rows("classifier"),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, context=64)


def _size(layers: int, width: int, heads: int, context: int) -> Config:
    return Config(vocab=50_257, width=width, layers=layers, heads=heads, context=context)


# As published: GPT-2 (Radford et al. 2019, table 2) and GPT-3 (Brown et al. 2020, https://arxiv.org/abs/2005.14165,
# table 2.1). GPT-3's layers alternate between dense and locally banded sparse attention; the width of the band is not
# published, so all are dense here. Two rows of its table contradict themselves: 24 heads of 128 in a width of 2048
# (16 make the 1.3 billion parameters of its name), and a width of 5140 for 40 heads of 128 (5120).
SIZES = {
    "gpt2": _size(12, 768, 12, 1024),
    "gpt2-medium": _size(24, 1024, 16, 1024),
    "gpt2-large": _size(36, 1280, 20, 1024),
    "gpt2-xl": _size(48, 1600, 25, 1024),
    "gpt3-125m": _size(12, 768, 12, 2048),
    "gpt3-350m": _size(24, 1024, 16, 2048),
    "gpt3-760m": _size(24, 1536, 16, 2048),
    "gpt3-1.3b": _size(24, 2048, 16, 2048),
    "gpt3-2.7b": _size(32, 2560, 32, 2048),
    "gpt3-6.7b": _size(32, 4096, 32, 2048),
    "gpt3-13b": _size(40, 5120, 40, 2048),
    "gpt3-175b": _size(96, 12_288, 96, 2048),
}
