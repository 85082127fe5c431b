"""ViT (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929): an encoder of an image's patches, pre-LayerNorm,
learned positions, GELU, pretrained to name what the image shows.
"""

from typing import Any, ClassVar

from pydantic import Field

from viva.base.choice import Choice
from viva.base.config import Config as BaseConfig
from viva.model.activation import Activation
from viva.model.arch._family import Fitting, Keys, divided, held, labels_to_hf, name_of, of_sequence, pairs
from viva.model.ffn import mlp
from viva.model.head import classify, none
from viva.model.norm import layernorm
from viva.model.position import learned
from viva.model.spec import Attention, Block, Entry, Patches, Spec, Stack

MODEL_TYPE = "vit"
HEADS = {"classify": "ViTForImageClassification", "none": "ViTModel"}
ACTIVATIONS = {"gelu": "gelu", "quick_gelu": "gelu_sigmoid", "relu": "relu", "gelu_new": "gelu_tanh"}


class Config(Fitting):
    """`image` and `patch` are the sides, in pixels, of an image and of its squares; `hidden` left out is four times the
    width. `dropout` falls on residuals and embeddings, `weight_dropout` on attention's weights.
    """

    patch_bias: ClassVar[bool] = True

    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    hidden: int | None = Field(None, gt=0)
    image: int = Field(224, gt=0)
    patch: int = Field(16, gt=0)
    channels: int = Field(3, gt=0)
    activation: Activation = "gelu"
    eps: float = Field(1e-12, gt=0)
    bias: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)
    weight_dropout: float = Field(0.0, ge=0, lt=1)
    head: Choice("viva.model.head") = classify.Config(labels=2)

    def norm(self) -> BaseConfig:
        return layernorm.Config(eps=self.eps)

    def block(self) -> Block:
        attention = Attention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=divided(self.width, self.heads),
            causal=False,
            bias=self.bias,
            out_bias=True,
            dropout=self.weight_dropout,
        )
        ffn = mlp.Config(hidden=self.hidden or 4 * self.width, activation=self.activation)
        return Block(attention=attention, ffn=ffn, norm=self.norm(), dropout=self.dropout)

    def entry(self) -> Entry:
        return Entry(position=learned.Config(), dropout=self.dropout)

    def spec(self) -> Spec:
        patches = Patches(image=self.image, size=self.patch, channels=self.channels, bias=self.patch_bias)
        return Spec(
            patches=patches,
            width=self.width,
            context=patches.tokens,
            encoder=Stack(layers=self.layers, blocks=(self.block(),), entry=self.entry()),
            head=self.head,
        )


def sizes(keys: Keys, patch: int, activation: str, eps: float) -> dict[str, Any]:
    """The fields that ViT and CLIP spell alike, with the defaults in which they differ."""
    return {
        "width": keys.take("hidden_size", 768),
        "layers": keys.take("num_hidden_layers", 12),
        "heads": keys.take("num_attention_heads", 12),
        "hidden": keys.take("intermediate_size", 3072),
        "image": keys.take("image_size", 224),
        "patch": keys.take("patch_size", patch),
        "channels": keys.take("num_channels", 3),
        "activation": ACTIVATIONS[keys.expect("hidden_act", *ACTIVATIONS, default=activation)],
        "eps": keys.take("layer_norm_eps", eps),
    }


def from_hf(keys: Keys) -> Config:
    keys.ignore(
        encoder_stride="belongs to a head that paints images",
        pooler_output_size="belongs to the pooler, which is set aside",
        pooler_act="belongs to the pooler, which is set aside",
    )
    labels = keys.labels()
    return Config(
        **sizes(keys, patch=16, activation="gelu", eps=1e-12),
        bias=keys.take("qkv_bias", True),
        dropout=keys.take("hidden_dropout_prob", 0.0),
        weight_dropout=keys.take("attention_probs_dropout_prob", 0.0),
        head=of_sequence(keys, labels) if keys.head(HEADS) == "classify" else none.Config(),
    )


def sizes_to_hf(config: Config) -> dict[str, Any]:
    """The keys that ViT and CLIP spell alike."""
    return {
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden or 4 * config.width,
        "image_size": config.image,
        "patch_size": config.patch,
        "num_channels": config.channels,
        "hidden_act": name_of(config.activation, ACTIVATIONS, "ViT and CLIP"),
        "layer_norm_eps": config.eps,
    }


def to_hf(config: Config) -> dict[str, Any]:
    return {
        **sizes_to_hf(config),
        "qkv_bias": config.bias,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.weight_dropout,
        **labels_to_hf(config.head),
    }


BASE = "vit."
TENSORS = (
    held("vit.embeddings.cls_token", "embedding.token", flat=2),
    held("vit.embeddings.position_embeddings", "encoder.entry.position.table.weight", flat=1),
    *pairs(
        {
            "vit.embeddings.patch_embeddings.projection": "embedding",
            "vit.layernorm": "encoder.norm",
            "vit.encoder.layer.{i}.attention.attention.query": "encoder.layers.{i}.attention.q",
            "vit.encoder.layer.{i}.attention.attention.key": "encoder.layers.{i}.attention.k",
            "vit.encoder.layer.{i}.attention.attention.value": "encoder.layers.{i}.attention.v",
            "vit.encoder.layer.{i}.attention.output.dense": "encoder.layers.{i}.attention.out",
            "vit.encoder.layer.{i}.layernorm_before": "encoder.layers.{i}.attention_norm",
            "vit.encoder.layer.{i}.intermediate.dense": "encoder.layers.{i}.ffn.up",
            "vit.encoder.layer.{i}.output.dense": "encoder.layers.{i}.ffn.down",
            "vit.encoder.layer.{i}.layernorm_after": "encoder.layers.{i}.ffn_norm",
        }
    ),
    *pairs({"classifier": "head.out"}, head="classify"),
    *pairs({"vit.pooler.dense": "head.pooler"}, head="pooler"),  # which is set aside
)

TINY = Config(width=32, layers=2, heads=4, hidden=48, image=12, patch=4, head=classify.Config(labels=3))
