"""GPT (Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"): GPT-2 with the original
Transformer's post-LayerNorm, and no norm after the last layer.
"""

from typing import Any, Self

from pydantic import model_validator

from viva.base.errors import Refusal
from viva.model.arch import gpt2
from viva.model.arch._family import Keys, held
from viva.model.spec import Block, Stack

MODEL_TYPE = "openai-gpt"
HEADS = {
    "lm": "OpenAIGPTLMHeadModel",
    "classify": "OpenAIGPTForSequenceClassification",
    "none": "OpenAIGPTModel",
}


class Config(gpt2.Config):
    """The fields of GPT-2; `hidden` is always four times the width."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hidden not in (None, 4 * self.width):
            raise Refusal("the hidden width of a GPT must be four times its width", self.hidden, "leave hidden out")
        return self

    def block(self) -> Block:
        return super().block().model_copy(update={"norm_at": "post"})

    def stack(self) -> Stack:
        return super().stack().model_copy(update={"final_norm": False})


def from_hf(keys: Keys) -> Config:
    keys.expect("afn", "gelu")  # by which they mean its tanh approximation
    return Config(**gpt2.sizes(keys, HEADS))


def to_hf(config: Config) -> dict[str, Any]:
    return {**gpt2.sizes_to_hf(config), "afn": "gelu"}


BASE = gpt2.BASE
TENSORS = (
    held("transformer.tokens_embed.weight", "embedding.weight"),
    held("transformer.positions_embed.weight", "decoder.entry.position.table.weight"),
    held("lm_head.weight", "head.weight"),
    *gpt2.layers(),
    held("score.weight", "head.out.weight", head="classify"),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, context=64)
