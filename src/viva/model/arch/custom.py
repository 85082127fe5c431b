"""Any Spec at all, written out in full: for what no published family is. Opened by viva alone."""

from typing import Any, Self

from pydantic import model_validator

from viva.base.choice import names
from viva.model.arch._family import Fitting, Keys
from viva.model.ffn import mlp
from viva.model.norm import layernorm
from viva.model.position import sinusoidal
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "viva"
HEADS = dict.fromkeys(names("viva.model.head"), "VivaModel")


class Config(Spec, Fitting):
    """The fields of a Spec; `vocab` left out is the tokenizer's."""

    vocab: int | None = None

    @model_validator(mode="after")
    def _reads_one(self) -> Self:
        return self  # spec() looks once the tokenizer is known

    def spec(self) -> Spec:
        return Spec(**dict(self))


def from_hf(keys: Keys) -> Config:
    return Config.model_validate(keys.take("spec"))


def to_hf(config: Config) -> dict[str, Any]:
    return {"spec": config.model_dump(mode="json")}


BASE = ""
TENSORS = ()  # our own names

TINY = Config(
    vocab=64,
    width=32,
    context=64,
    decoder=Stack(
        entry=Entry(position=sinusoidal.Config()),
        layers=2,
        blocks=(
            Block(
                attention=Attention(heads=4, kv_heads=1, head_dim=8, qk_norm=layernorm.Config()),
                ffn=mlp.Config(hidden=48, activation="relu"),
                norm=layernorm.Config(),
                norm_at="post",
            ),
        ),
        final_norm=False,
    ),
)
