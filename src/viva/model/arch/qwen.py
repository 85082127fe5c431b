"""Qwen, the first (Bai et al. 2023, https://arxiv.org/abs/2309.16609): LLaMA with a bias on queries, keys and values,
and beyond the length it was trained on a larger rotary base and log-n scaling.
"""

from typing import Any, Self

from pydantic import Field, model_validator

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.arch import llama, qwen2
from viva.model.arch._family import Keys, held, pairs
from viva.model.position import log_n, rope
from viva.model.position.scaling import default, stepped
from viva.model.spec import Attention

MODEL_TYPE = "qwen"
HEADS = {"lm": "QWenLMHeadModel"}


class Config(llama.Kin):
    """`trained` is the length, in tokens, beyond which `stepped` enlarges the base (section 2.3's dynamic NTK) and
    `log_n` sharpens queries; in between, up to `context`, the model is used without training. `position` gives theta.

    The published code does both outside training alone; here a text that is longer than `trained` is read alike always.
    """

    tied: bool = False
    trained: int = Field(2048, gt=1)
    stepped: bool = True
    log_n: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if kind(self.position.scaling) != "default" or self.kv_heads not in (None, self.heads):
            found = f"scaling {kind(self.position.scaling)}, kv_heads {self.kv_heads}"
            raise Refusal("a Qwen must have its own scaling and as many key heads as heads", found, "leave them out")
        return self

    def attention(self) -> Attention:
        scaling = stepped.Config(trained=self.trained) if self.stepped else default.Config()
        position = rope.Config(theta=self.position.theta, scaling=scaling)
        if self.log_n:
            position = log_n.Config(trained=self.trained, rope=position)
        return qwen2.biased(super().attention()).model_copy(update={"position": position})


def from_hf(keys: Keys) -> Config:
    keys.expect("no_bias", True)
    keys.expect("scale_attn_weights", True)
    keys.expect("rotary_pct", 1.0)
    keys.expect("emb_dropout_prob", 0.0)
    keys.ignore(
        onnx_safe="concerns export alone",
        use_flash_attn="computes the same",
        softmax_in_fp32="changes rounding alone",
        use_cache_quantization="the caller chooses",
        use_cache_kernel="the caller chooses",
        tokenizer_class="the tokenizer's files say it",
        **dict.fromkeys(("bf16", "fp16", "fp32"), "the tensors carry their own dtype"),
    )
    hidden = keys.take("intermediate_size", 22_016)
    if hidden % 2:
        raise Refusal(f"intermediate_size in {keys.where} must be even: gate and up have half each", hidden, "check it")
    return Config(
        vocab=keys.take("vocab_size", 151_936),
        width=keys.take("hidden_size", 4096),
        layers=keys.take("num_hidden_layers", 32),
        heads=keys.take("num_attention_heads", 32),
        head_dim=keys.take("kv_channels", 128),
        hidden=hidden // 2,
        context=keys.take("max_position_embeddings", 8192),
        trained=keys.take("seq_length"),
        stepped=keys.take("use_dynamic_ntk", True),
        log_n=keys.take("use_logn_attn", True),
        position=rope.Config(theta=keys.take("rotary_emb_base", 10_000)),
        eps=keys.take("layer_norm_epsilon", 1e-6),
        tied=keys.take("tie_word_embeddings", False),
        dropout=keys.take("attn_dropout_prob", 0.0),
    )


def to_hf(config: Config) -> dict[str, Any]:
    spec = config.spec()
    block = spec.decoder.blocks[0]
    return {
        "vocab_size": spec.vocab,
        "hidden_size": spec.width,
        "num_hidden_layers": spec.decoder.layers,
        "num_attention_heads": block.attention.heads,
        "kv_channels": block.attention.head_dim,
        "intermediate_size": 2 * block.ffn.hidden,
        "max_position_embeddings": spec.context,
        "seq_length": config.trained,
        "use_dynamic_ntk": config.stepped,
        "use_logn_attn": config.log_n,
        "rotary_emb_base": config.position.theta,
        "rotary_pct": 1.0,
        "layer_norm_epsilon": config.eps,
        "no_bias": True,
        "scale_attn_weights": True,
        "tie_word_embeddings": config.tied,
        "attn_dropout_prob": config.dropout,
        "emb_dropout_prob": 0.0,
    }


BASE = "transformer."
TENSORS = (
    held("transformer.wte.weight", "embedding.weight"),
    held("transformer.ln_f.weight", "decoder.norm.weight"),
    held("lm_head.weight", "head.weight"),
    held("transformer.h.{i}.ln_1.weight", "decoder.layers.{i}.attention_norm.weight"),
    held("transformer.h.{i}.ln_2.weight", "decoder.layers.{i}.ffn_norm.weight"),
    *(
        held(
            f"transformer.h.{{i}}.attn.c_attn.{part}",
            *(f"decoder.layers.{{i}}.attention.{name}.{part}" for name in "qkv"),
        )
        for part in ("weight", "bias")
    ),
    *pairs(
        {
            "transformer.h.{i}.attn.c_proj": "decoder.layers.{i}.attention.out",
            "transformer.h.{i}.mlp.w1": "decoder.layers.{i}.ffn.up",
            "transformer.h.{i}.mlp.w2": "decoder.layers.{i}.ffn.gate",
            "transformer.h.{i}.mlp.c_proj": "decoder.layers.{i}.ffn.down",
        }
    ),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64, trained=16)
