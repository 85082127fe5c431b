"""CLIP's image tower (Radford et al. 2021, https://arxiv.org/abs/2103.00020): a ViT with a norm before its first layer
too, whose first state is projected to the width that images and texts share.
"""

from typing import Any, ClassVar

from pydantic import Field

from viva.base.choice import Choice
from viva.base.config import Config as BaseConfig
from viva.model.activation import Activation
from viva.model.arch import vit
from viva.model.arch._family import Keys, held, pairs
from viva.model.head import embed, none
from viva.model.spec import Entry

MODEL_TYPE = "clip_vision_model"
HEADS = {"embed": "CLIPVisionModelWithProjection", "none": "CLIPVisionModel"}


class Config(vit.Config):
    """The fields of ViT. Without a head the states are those behind the last norm, of which theirs shows the first
    alone, as what it pools.
    """

    patch_bias: ClassVar[bool] = False

    patch: int = 32
    activation: Activation = "gelu_sigmoid"
    eps: float = Field(1e-5, gt=0)
    head: Choice("viva.model.head") = embed.Config(pool="first", normalised=False, width=512)

    def entry(self) -> Entry:
        return super().entry().model_copy(update={"norm": self.norm()})


def read_head(keys: Keys, heads: dict[str, str], pool: str) -> BaseConfig:
    """The head of one of CLIP's towers: a projection of what it pools, or nothing."""
    width = keys.take("projection_dim", 512)
    return none.Config() if keys.head(heads) == "none" else embed.Config(pool=pool, normalised=False, width=width)


def head_to_hf(config: BaseConfig) -> dict[str, Any]:
    """The key by which a tower says how wide its projection is."""
    width = getattr(config.head, "width", None)
    return {} if width is None else {"projection_dim": width}


def ignore(keys: Keys) -> None:
    """What either tower's config.json may hold without effect."""
    keys.ignore(
        initializer_factor="used when training starts anew",
        dropout="read by nobody; attention_dropout is another key",
        tie_word_embeddings="no words are scored",
    )


def from_hf(keys: Keys) -> Config:
    ignore(keys)
    return Config(
        **vit.sizes(keys, patch=32, activation="quick_gelu", eps=1e-5),
        weight_dropout=keys.take("attention_dropout", 0.0),
        head=read_head(keys, HEADS, "first"),
    )


def to_hf(config: Config) -> dict[str, Any]:
    return {**vit.sizes_to_hf(config), "attention_dropout": config.weight_dropout, **head_to_hf(config)}


def layers(base: str, stack: str) -> tuple:
    """The rows of the layers, which both towers name alike behind `base`; ours are those of `stack`."""
    modules = {
        "self_attn.q_proj": "attention.q",
        "self_attn.k_proj": "attention.k",
        "self_attn.v_proj": "attention.v",
        "self_attn.out_proj": "attention.out",
        "layer_norm1": "attention_norm",
        "mlp.fc1": "ffn.up",
        "mlp.fc2": "ffn.down",
        "layer_norm2": "ffn_norm",
    }
    return pairs(
        {f"{base}encoder.layers.{{i}}.{theirs}": f"{stack}.layers.{{i}}.{ours}" for theirs, ours in modules.items()}
    )


BASE = "vision_model."
TENSORS = (
    held("vision_model.embeddings.class_embedding", "embedding.token"),
    held("vision_model.embeddings.patch_embedding.weight", "embedding.weight"),
    held("vision_model.embeddings.position_embedding.weight", "encoder.entry.position.table.weight"),
    *pairs({"vision_model.pre_layrnorm": "encoder.entry.norm", "vision_model.post_layernorm": "encoder.norm"}),
    *layers(BASE, "encoder"),
    held("visual_projection.weight", "head.project.weight", head="embed"),
)

TINY = Config(
    width=32,
    layers=2,
    heads=4,
    hidden=48,
    image=12,
    patch=4,
    head=embed.Config(pool="first", normalised=False, width=24),
)
