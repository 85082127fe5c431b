"""Gemma 2 (Riviere et al. 2024, https://arxiv.org/abs/2408.00118): norms before and after each sublayer, embeddings
scaled by sqrt(E), GEGLU, scores of attention and of the vocabulary bounded softly, and every other layer with a window.
"""

from typing import Any

from pydantic import Field

from viva.base.errors import Refusal
from viva.model.arch import _decoder, llama
from viva.model.arch._family import Keys, held
from viva.model.ffn import glu
from viva.model.head import lm
from viva.model.norm import rmsnorm
from viva.model.score import dot
from viva.model.spec import Attention, Block, Entry, Spec

MODEL_TYPE = "gemma2"
HEADS = _decoder.heads("Gemma2")


class Config(llama.Kin):
    """Scores are divided by the square root of `scalar` and bounded by `cap`, those of the vocabulary by `head_cap`;
    None bounds nothing. Layers 0, 2, 4, ... see at most `window` tokens. `bias` is that of attention's projections.
    """

    bias: bool = False
    scalar: int = Field(256, gt=0)
    cap: float | None = Field(50.0, gt=0)
    head_cap: float | None = Field(30.0, gt=0)
    window: int = Field(4096, gt=0)

    def attention(self) -> Attention:
        score = dot.Config(scale=self.scalar**-0.5, cap=self.cap)
        changed = {"score": score, "bias": self.bias, "out_bias": self.bias}
        return super().attention().model_copy(update=changed)

    def block(self) -> Block:
        block = super().block()
        changed = {
            "ffn": glu.Config(hidden=block.ffn.hidden, activation="gelu_tanh"),
            "norm": rmsnorm.Config(eps=self.eps, centred=True),
            "norm_at": "sandwich",
        }
        return block.model_copy(update=changed)

    def blocks(self) -> tuple[Block, ...]:
        far = self.block()
        attention = far.attention.model_copy(update={"window": self.window})
        return far.model_copy(update={"attention": attention}), far

    def spec(self) -> Spec:
        plain = super().spec()
        decoder = plain.decoder.model_copy(update={"entry": Entry(scaled=True)})
        head = self.head or lm.Config(tied=self.tied, cap=self.head_cap)
        return plain.model_copy(update={"decoder": decoder, "head": head})


def from_hf(keys: Keys) -> Config:
    keys.ignore(hidden_act="hidden_activation says it", cache_implementation="the caller chooses")
    keys.expect("hidden_activation", "gelu_pytorch_tanh")
    keys.expect("use_bidirectional_attention", None, False)
    fields = llama.sizes(keys, HEADS, context=8192, kv_heads=4, tied=True)
    order = ("sliding_attention", "full_attention")
    keys.expect("layer_types", None, [order[layer % 2] for layer in range(fields["layers"])])
    return Config(
        **fields,
        head_dim=keys.take("head_dim", 256),
        bias=keys.take("attention_bias", False),
        scalar=keys.take("query_pre_attn_scalar", 256),
        cap=keys.take("attn_logit_softcapping", 50.0, null=None),
        head_cap=keys.take("final_logit_softcapping", 30.0, null=None),
        window=_window(keys),
    )


def _window(keys: Keys) -> int:
    found = keys.take("sliding_window", 4096, null=None)
    if found is None:
        fix = "give the window that every second layer has"
        raise Refusal(f"sliding_window in {keys.where} must be a number of tokens for gemma2", "null", fix)
    return found


def to_hf(config: Config) -> dict[str, Any]:
    sizes = llama.sizes_to_hf(config)
    del sizes["hidden_act"]
    return {
        **sizes,
        "hidden_activation": "gelu_pytorch_tanh",
        "head_dim": config.attention().head_dim,
        "attention_bias": config.bias,
        "query_pre_attn_scalar": config.scalar,
        "attn_logit_softcapping": config.cap,
        "final_logit_softcapping": getattr(config.spec().head, "cap", config.head_cap),
        "sliding_window": config.window,
    }


BASE = llama.BASE
TENSORS = (
    *(row for row in llama.TENSORS if "layernorm" not in row.theirs),
    *(
        held(f"model.layers.{{i}}.{theirs}_layernorm.weight", f"decoder.layers.{{i}}.{ours}.weight")
        for theirs, ours in {
            "input": "attention_norm",
            "post_attention": "attention_after",
            "pre_feedforward": "ffn_norm",
            "post_feedforward": "ffn_after",
        }.items()
    ),
)

TINY = Config(
    vocab=64,
    width=32,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=16,
    hidden=48,
    context=64,
    scalar=24,
    cap=2.0,
    head_cap=1.5,
    window=8,
)
