"""An architecture as data: what the one Transformer builds. A family (model/arch) is a way to write such a Spec."""

from typing import Literal, Self

from pydantic import Field, model_validator

from viva.base.choice import Choice
from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.position import none


class Attention(Config):
    """H query heads share G key/value heads: G = H multi-head, 1 < G < H grouped-query, G = 1 multi-query.

    `bias` on the query, key and value projections, `out_bias` on the output's. `qk_norm` normalises each head's
    queries and keys over D before they are turned (Dehghani et al. 2023). `window` limits sight to the last so many
    tokens.
    """

    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    bias: bool = False
    out_bias: bool = False
    qk_norm: Choice("viva.model.norm") | None = None
    position: Choice("viva.model.position") = none.Config()
    window: int | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heads % self.kv_heads:
            fix = "choose a divisor of heads: 1 is multi-query, heads itself multi-head attention"
            raise Refusal("kv_heads must divide heads", f"{self.kv_heads} for {self.heads} heads", fix)
        return _acts_on(self, self.position, "attention")


class Block(Config):
    """Attention, then a feed-forward network, each with a residual connection around it.

    `norm_at`: "pre" is x + f(norm(x)) (GPT-2, LLaMA), "post" is norm(x + f(x)) (the original Transformer, BERT).
    `dropout` falls on what each of the two adds.
    """

    attention: Attention
    ffn: Choice("viva.model.ffn")
    norm: Choice("viva.model.norm")
    norm_at: Literal["pre", "post"] = "pre"
    dropout: float = Field(0.0, ge=0, lt=1)


class Stack(Config):
    """`layers` blocks; layer i is blocks[i mod len(blocks)]. `final_norm` follows the last one."""

    layers: int = Field(gt=0)
    blocks: tuple[Block, ...] = Field(min_length=1)
    final_norm: bool = True

    def block(self, layer: int) -> Block:
        return self.blocks[layer % len(self.blocks)]


class Spec(Config):
    """A decoder: token embeddings of width E, a stack, and a head over the V tokens, `tied` to the embeddings or not.

    `context` is the length, in tokens, the model is made for; `position` adds to the embeddings, and `dropout` falls on
    their sum.
    """

    vocab: int = Field(gt=0)
    width: int = Field(gt=0)
    context: int = Field(gt=0)
    decoder: Stack
    position: Choice("viva.model.position") = none.Config()
    dropout: float = Field(0.0, ge=0, lt=1)
    tied: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return _acts_on(self, self.position, "embeddings")


def _acts_on(section: Config, position: Config, place: str):
    if place not in position.acts_on:
        must = f"position {kind(position)} must be given where it acts, on {position.acts_on[0]}"
        raise Refusal(must, f"it on {place}", "move it there")
    return section
