"""Qwen2 and Qwen2.5 (Yang et al. 2024, https://arxiv.org/abs/2407.10671): LLaMA with a bias on queries, keys and
values.
"""

from typing import Any, Self

from pydantic import Field, model_validator

from viva.base.errors import Refusal
from viva.model.arch import _decoder, llama
from viva.model.arch._family import Keys
from viva.model.spec import Attention, Block

MODEL_TYPE = "qwen2"
HEADS = _decoder.heads("Qwen2")


class Config(llama.Kin):
    """Layers from `full_layers` on see at most `window` tokens; with `window` None every layer sees everything."""

    window: int | None = Field(None, gt=0)
    full_layers: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.full_layers and self.window is None:
            fix = "give a window, or leave full_layers out"
            raise Refusal("full_layers must be those before the layers with a window", "no window", fix)
        return self

    def attention(self) -> Attention:
        return biased(super().attention())

    def blocks(self) -> tuple[Block, ...]:
        block = self.block()
        if self.window is None:
            return (block,)
        attention = block.attention.model_copy(update={"window": self.window})
        near = block.model_copy(update={"attention": attention})
        return tuple(block if layer < self.full_layers else near for layer in range(self.layers))


def biased(attention: Attention) -> Attention:
    """With a bias on queries, keys and values alone, as all the Qwens have had it up to the third."""
    return attention.model_copy(update={"bias": True, "out_bias": False})


def windows(keys: Keys, layers: int) -> dict[str, Any]:
    """`window` and `full_layers` from the keys by which the Qwens say which layers slide."""
    slides = keys.take("use_sliding_window", False)
    window = keys.take("sliding_window", 4096, null=None)
    full = min(keys.take("max_window_layers", 28), layers)
    types = keys.take("layer_types", None)
    if not slides or window is None:
        full, window = layers, None
    expected = ["full_attention"] * full + ["sliding_attention"] * (layers - full)
    if types is not None and types != expected:
        must = f"layer_types in {keys.where} must be what its other keys say, windows in the last layers alone"
        raise Refusal(must, repr(types), "use a model whose layers slide from one on, or write it with the kind custom")
    return {"window": window if full < layers else None, "full_layers": full if full < layers else 0}


def windows_to_hf(config: Config) -> dict[str, Any]:
    """The keys by which the Qwens say which layers slide."""
    full = config.layers if config.window is None else config.full_layers
    return {
        "use_sliding_window": config.window is not None,
        "sliding_window": config.window,
        "max_window_layers": full,
        "layer_types": ["full_attention"] * full + ["sliding_attention"] * (config.layers - full),
    }


def from_hf(keys: Keys) -> Config:
    fields = llama.sizes(keys, HEADS, context=32_768, kv_heads=32)
    keys.ignore(use_mrope="multimodal positions, the same for text")
    return Config(**fields, **windows(keys, fields["layers"]))


def to_hf(config: Config) -> dict[str, Any]:
    return {**llama.sizes_to_hf(config), **windows_to_hf(config)}


BASE, TENSORS = llama.BASE, llama.TENSORS

TINY = Config(vocab=64, width=32, layers=3, heads=4, kv_heads=2, hidden=48, context=64, window=8, full_layers=1)
