"""Mistral (Jiang et al. 2023, https://arxiv.org/abs/2310.06825): LLaMA with grouped queries and a sliding window."""

from typing import Any

from pydantic import Field

from viva.model.arch import _decoder, llama
from viva.model.arch._family import Keys
from viva.model.spec import Attention

MODEL_TYPE = "mistral"
HEADS = _decoder.heads("Mistral")


class Config(llama.Kin):
    """`window` in tokens; None sees everything."""

    window: int | None = Field(4096, gt=0)

    def attention(self) -> Attention:
        return super().attention().model_copy(update={"window": self.window})


def from_hf(keys: Keys) -> Config:
    return Config(
        **llama.sizes(keys, HEADS, context=131_072, kv_heads=8),
        head_dim=keys.take("head_dim", None),
        window=keys.take("sliding_window", 4096, null=None),
    )


def to_hf(config: Config) -> dict[str, Any]:
    own = {"head_dim": config.attention().head_dim, "sliding_window": config.window}
    return {**llama.sizes_to_hf(config), **own}


BASE, TENSORS = llama.BASE, llama.TENSORS

TINY = Config(vocab=64, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=64, tied=False, window=8)
