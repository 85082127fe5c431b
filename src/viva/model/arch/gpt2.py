"""GPT-2 (Radford et al. 2019): pre-LayerNorm, learned positions, GELU, a bias on every projection, tied embeddings."""

from typing import Any

from viva.model.arch._family import Family, Keys, divided, held
from viva.model.ffn import mlp
from viva.model.head import lm
from viva.model.norm import layernorm
from viva.model.position import learned
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "gpt2"
HEADS = {"lm": "GPT2LMHeadModel"}


class Config(Family):
    """`hidden` left out is four times the width; one `dropout` for attention, residuals and embeddings."""

    eps: float = 1e-5

    def spec(self) -> Spec:
        attention = Attention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=divided(self.width, self.heads),
            bias=True,
            out_bias=True,
            dropout=self.dropout,
        )
        block = Block(
            attention=attention,
            ffn=mlp.Config(hidden=self.hidden or 4 * self.width, activation="gelu_tanh"),
            norm=layernorm.Config(eps=self.eps),
            dropout=self.dropout,
        )
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            decoder=Stack(
                layers=self.layers,
                blocks=(block,),
                entry=Entry(position=learned.Config(), dropout=self.dropout),
            ),
            head=self.head or lm.Config(tied=self.tied),
        )


def from_hf(keys: Keys) -> Config:
    keys.expect("activation_function", "gelu_new", "gelu_pytorch_tanh")
    keys.expect("scale_attn_weights", True)
    keys.expect("scale_attn_by_inverse_layer_idx", False)
    keys.expect("add_cross_attention", False)
    dropout = keys.take("resid_pdrop", 0.1)
    keys.expect("attn_pdrop", dropout, default=0.1)
    keys.expect("embd_pdrop", dropout, default=0.1)
    keys.ignore(
        n_ctx="the same as n_positions",
        reorder_and_upcast_attn="changes rounding alone",
        summary_type="belongs to a classification head",
        summary_use_proj="belongs to a classification head",
        summary_activation="belongs to a classification head",
        summary_first_dropout="belongs to a classification head",
        summary_proj_to_labels="belongs to a classification head",
    )
    return Config(
        vocab=keys.take("vocab_size"),
        width=keys.take("n_embd"),
        layers=keys.take("n_layer"),
        heads=keys.take("n_head"),
        context=keys.take("n_positions"),
        hidden=keys.take("n_inner", None),
        eps=keys.take("layer_norm_epsilon", 1e-5),
        tied=keys.take("tie_word_embeddings", True),
        dropout=dropout,
    )


def to_hf(config: Config) -> dict[str, Any]:
    return {
        "vocab_size": config.known_vocab,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_positions": config.context,
        "n_inner": config.hidden,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": config.eps,
        "tie_word_embeddings": config.tied,
        "resid_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
    }


BASE = "transformer."
TENSORS = (
    held("transformer.wte.weight", "embedding.weight"),
    held("transformer.wpe.weight", "decoder.entry.position.table.weight"),
    held("lm_head.weight", "head.weight"),
    *(
        held(f"transformer.{theirs}.{part}", f"decoder.{ours}.{part}")
        for theirs, ours in {
            "ln_f": "norm",
            "h.{i}.ln_1": "layers.{i}.attention_norm",
            "h.{i}.ln_2": "layers.{i}.ffn_norm",
        }.items()
        for part in ("weight", "bias")
    ),
    # the linear layers are stored [in, out], and one of them holds queries, keys and values
    *(
        held(
            f"transformer.h.{{i}}.{theirs}.{part}",
            *(f"decoder.layers.{{i}}.{name}.{part}" for name in ours),
            transposed=part == "weight",
        )
        for theirs, ours in {
            "attn.c_attn": ("attention.q", "attention.k", "attention.v"),
            "attn.c_proj": ("attention.out",),
            "mlp.c_fc": ("ffn.up",),
            "mlp.c_proj": ("ffn.down",),
        }.items()
        for part in ("weight", "bias")
    ),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, context=64)
