"""Qwen3 (Yang et al. 2025, https://arxiv.org/abs/2505.09388): queries and keys normalised, no bias, heads of their own
width.
"""

from typing import Any

from viva.model.arch import _decoder, llama, qwen2
from viva.model.arch._family import Keys, held
from viva.model.norm import rmsnorm
from viva.model.spec import Attention

MODEL_TYPE = "qwen3"
HEADS = _decoder.heads("Qwen3")


class Config(qwen2.Config):
    """`head_dim` is independent of the width, `bias` that of the projections of attention."""

    bias: bool = False

    def attention(self) -> Attention:
        changed = {"bias": self.bias, "out_bias": self.bias, "qk_norm": rmsnorm.Config(eps=self.eps)}
        return super().attention().model_copy(update=changed)


def from_hf(keys: Keys) -> Config:
    fields = llama.sizes(keys, HEADS, context=32_768, kv_heads=32)
    return Config(
        **fields,
        **qwen2.windows(keys, fields["layers"]),
        head_dim=keys.take("head_dim", 128),
        bias=keys.take("attention_bias", False),
    )


def to_hf(config: Config) -> dict[str, Any]:
    own = {"head_dim": config.attention().head_dim, "attention_bias": config.bias}
    return {**llama.sizes_to_hf(config), **qwen2.windows_to_hf(config), **own}


BASE = llama.BASE
TENSORS = (
    *llama.TENSORS,
    held("model.layers.{i}.self_attn.q_norm.weight", "decoder.layers.{i}.attention.q_norm.weight"),
    held("model.layers.{i}.self_attn.k_norm.weight", "decoder.layers.{i}.attention.k_norm.weight"),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, kv_heads=2, head_dim=16, hidden=48, context=64)
