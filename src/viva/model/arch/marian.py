"""Marian's translation models (Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344), as OPUS-MT publishes
them: the original Transformer with SiLU, a bias on the scores of tokens, and all sines before all cosines.
"""

from typing import Any

import torch
from pydantic import Field

from viva.model.activation import Activation
from viva.model.arch import bart
from viva.model.arch._family import Keys, held
from viva.model.position import sinusoidal
from viva.model.spec import Entry

MODEL_TYPE = "marian"
HEADS = {"lm": "MarianMTModel"}


class Config(bart.Config):
    """The fields of BART; nothing is learned about absolute places, and no norm follows the embeddings."""

    context: int = Field(512, gt=0)
    scaled: bool = True
    activation: Activation = "silu"

    def entry(self) -> Entry:
        return Entry(scaled=self.scaled, position=sinusoidal.Config(paired=False), dropout=self.dropout)


def from_hf(keys: Keys) -> Config:
    fields = bart.sizes(keys)
    keys.expect("share_encoder_decoder_embeddings", True)
    keys.expect("decoder_vocab_size", fields["vocab"])
    keys.expect("static_position_embeddings", True)
    keys.expect("normalize_embedding", False)
    keys.ignore(extra_pos_embeddings="the sinusoids are computed")
    return Config(**fields)


def to_hf(config: Config) -> dict[str, Any]:
    return {
        **bart.sizes_to_hf(config),
        "share_encoder_decoder_embeddings": True,
        "decoder_vocab_size": config.known_vocab,
        "static_position_embeddings": True,
        "decoder_start_token_id": config.start or 0,
    }


def placeholders(config: Config) -> dict[str, Any]:
    return {"pad_token_id": 0}  # the class's own lies beyond a small vocabulary


BASE, ZEROS = bart.BASE, bart.ZEROS
COMPUTED = {".embed_positions.weight": lambda T, E: sinusoidal.sinusoids(torch.arange(T), E, paired=False)}
TENSORS = (
    held("model.shared.weight", "embedding.weight"),
    held("final_logits_bias", "head.bias", flat=1),
    *bart.layers(BASE),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64, decoder_layers=3, decoder_heads=2)
