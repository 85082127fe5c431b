"""An architecture as data: what the one Transformer builds. A family (model/arch) is a way to write such a Spec."""

from typing import Literal, Self

from pydantic import Field, model_validator
from torch.nn import Module

from viva.base.choice import Choice
from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.head import lm
from viva.model.norm import require_alone
from viva.model.pool import Pool
from viva.model.position import none
from viva.model.score import dot


def _acts_on(section: Config, position: Config, place: str):
    if place not in position.acts_on:
        must = f"position {kind(position)} must be given where it acts, on {position.acts_on[0]}"
        raise Refusal(must, f"it on {place}", "move it there")
    return section


class Attention(Config):
    """H query heads share G key/value heads: G = H multi-head, 1 < G < H grouped-query, G = 1 multi-query.

    `causal`: a token sees itself and what came before it; else all of its document. `window` limits sight to the last
    so many tokens. `score` says how a query and a key are compared. `bias` on the query, key and value projections,
    `out_bias` on the output's. `qk_norm` normalises each head's queries and keys over D before they are turned
    (Dehghani et al. 2023). With `shared_kv` the keys are the values. `dropout` falls on the weights.
    """

    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    causal: bool = True
    window: int | None = Field(None, gt=0)
    score: Choice("viva.model.score") = dot.Config()
    position: Choice("viva.model.position") = none.Config()
    qk_norm: Choice("viva.model.norm") | None = None
    shared_kv: bool = False
    bias: bool = False
    out_bias: bool = False
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.heads % self.kv_heads:
            fix = "choose a divisor of heads: 1 is multi-query, heads itself multi-head attention"
            raise Refusal("kv_heads must divide heads", f"{self.kv_heads} for {self.heads} heads", fix)
        if not self.causal and self.window:
            fix = "set causal, or leave the window out"
            raise Refusal("a window looks backward, so its attention must be causal", "causal: false", fix)
        self.score.require_fit(self)
        require_alone(self.qk_norm, "qk_norm")
        return _acts_on(self, self.position, "attention")


class Block(Config):
    """Attention, attention to another sequence where there is `cross`, and a feed-forward network, each with a residual
    connection around it. With `attention` left out tokens do not see each other: each asks the other sequence alone.

    `norm_at`: "pre" is x + f(norm(x)) (GPT-2, LLaMA), "post" is norm(x + f(x)) (the original Transformer, BERT),
    "sandwich" is x + norm(f(norm(x))) (Ding et al. 2021; Gemma 2). `dropout` falls on what each of them adds,
    `ffn_dropout`, where given, on what the feed-forward network adds.
    """

    attention: Attention | None = None
    cross: Attention | None = None
    ffn: Choice("viva.model.ffn")
    norm: Choice("viva.model.norm")
    norm_at: Literal["pre", "post", "sandwich"] = "pre"
    dropout: float = Field(0.0, ge=0, lt=1)
    ffn_dropout: float | None = Field(None, ge=0, lt=1)

    @property
    def position(self) -> Config:
        """How tokens that see each other know their order."""
        return none.Config() if self.attention is None else self.attention.position

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.attention is None and self.cross is None:
            fix = "give it attention, or cross where there is an encoder"
            raise Refusal("a block must attend to its own sequence or to another", "neither", fix)
        if self.cross is not None and (self.cross.causal or kind(self.cross.position) != "none"):
            found = f"causal: {str(self.cross.causal).lower()}, position {kind(self.cross.position)}"
            fix = "set causal to false and leave position out: the order of one sequence is not that of the other"
            raise Refusal("cross-attention must see all of the other sequence, without positions", found, fix)
        return self


class Entry(Config):
    """What becomes of the tokens' vectors before the first block, in this order.

    `inner`: the vectors have this width and are projected to E (ALBERT's factorisation, Lan et al. 2020), after the
    rest. `scaled` multiplies them by sqrt(E) (Vaswani et al. 2017, section 3.4). `segments` adds one of so many learned
    vectors (BERT), `position` one for the place. Then come `norm` and `dropout`.
    """

    inner: int | None = Field(None, gt=0)
    scaled: bool = False
    segments: int = Field(0, ge=0)
    position: Choice("viva.model.position") = none.Config()
    norm: Choice("viva.model.norm") | None = None
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return _acts_on(self, self.position, "embeddings")


class Stack(Config):
    """`layers` blocks; layer i is blocks[i mod len(blocks)]. `final_norm` follows the last one, and then `dropout`.

    `share` consecutive layers have the same weights (ALBERT). `recall` states of the segment before are kept for the
    next one to attend to (Transformer-XL).
    """

    layers: int = Field(gt=0)
    blocks: tuple[Block, ...] = Field(min_length=1)
    entry: Entry = Entry()
    final_norm: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)
    share: int = Field(1, gt=0)
    recall: int = Field(0, ge=0)

    def block(self, layer: int) -> Block:
        return self.blocks[layer % len(self.blocks)]

    @property
    def of_layers(self) -> list[Block]:
        """The block of each layer."""
        return [self.block(layer) for layer in range(self.layers)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.share > 1 and len(self.blocks) > 1:
            found = f"share {self.share} and {len(self.blocks)} blocks"
            raise Refusal("layers that share their weights must be of one block", found, "give one block")
        told = (self.entry.position, *(block.position for block in self.blocks))
        if self.recall and (found := sorted({kind(position) for position in told if position.by_place})):
            must = "positions must be told by distance where a segment is recalled, for it has no places"
            raise Refusal(must, ", ".join(found), "use positions such as xl, or set recall to 0")
        return self


class Patches(Config):
    """A square image of `image` pixels a side in so many `channels`, cut into squares of `size` pixels a side, each
    projected to a vector, with or without `bias`.
    """

    image: int = Field(gt=0)
    size: int = Field(gt=0)
    channels: int = Field(3, gt=0)
    bias: bool = True

    @property
    def tokens(self) -> int:
        """The squares, and one vector in front of them."""
        return 1 + (self.image // self.size) ** 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.image % self.size:
            found = f"{self.size} pixels in {self.image}"
            raise Refusal("the side of a patch must divide that of the image", found, "scale the image to a multiple")
        return self


class Spec(Config):
    """Token embeddings of width E, an `encoder`, a `decoder` or both, and a head.

    What is read are tokens of a vocabulary, `vocab` of them, or the `patches` of an image.

    With both, the encoder's states are what the decoder's `cross` attention sees, and both read the same table of V
    vectors. `context` is the length, in tokens, the model is made for. `init`: starting weights are "normal",
    "xavier" or "fan_in" (model/init.py).
    """

    vocab: int | None = Field(None, gt=0)
    patches: Patches | None = None
    width: int = Field(gt=0)
    context: int = Field(gt=0)
    encoder: Stack | None = None
    decoder: Stack | None = None
    head: Choice("viva.model.head") = lm.Config()
    init: Literal["normal", "xavier", "fan_in"] = "normal"

    @property
    def inner(self) -> int:
        """The width of the tokens' vectors: E unless the table is factorised."""
        return self.stacks[0].entry.inner or self.width

    @property
    def pool(self) -> Pool:
        """The token that has seen all others of its document, or may have."""
        return "first" if self.decoder is None else "last"

    def build(self) -> Module:
        """The model, with the weights of torch's own drawing."""
        from viva.model.transformer import Transformer  # which is made of this file's specs

        return Transformer(self)

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Those there are, the encoder first."""
        return tuple(stack for stack in (self.encoder, self.decoder) if stack is not None)

    @model_validator(mode="after")
    def _reads_one(self) -> Self:
        if (self.vocab is None) == (self.patches is None):
            found = "neither" if self.vocab is None else "both"
            raise Refusal("a model must read a vocabulary or patches", found, "give one of vocab and patches")
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.patches is not None and (self.decoder is not None or kind(self.head) in ("lm", "masked")):
            found = f"a decoder: {self.decoder is not None}; head {kind(self.head)}"
            fix = "give an encoder, and another head"
            raise Refusal("a model of images must have an encoder alone, and score no words", found, fix)
        if not self.stacks:
            raise Refusal("a model must have an encoder or a decoder", "neither", "give one of them, or both")
        crossing = {block.cross is not None for block in self.decoder.blocks} if self.decoder else {False}
        if crossing != {self.encoder is not None and self.decoder is not None}:
            found = f"an encoder: {self.encoder is not None}; blocks with cross-attention: {sorted(crossing)}"
            fix = "give each block of the decoder `cross`, or leave out the encoder"
            raise Refusal("a decoder must attend to an encoder where there is one, and only there", found, fix)
        if len({stack.entry.inner for stack in self.stacks}) > 1:
            found = [stack.entry.inner for stack in self.stacks]
            raise Refusal("encoder and decoder share a table, so its inner width must be one", found, "make them equal")
        return self

    @model_validator(mode="after")
    def _sees(self) -> Self:
        """An encoder sees its own text both ways, a decoder left to right."""
        encoding, decoding = (stack.blocks if stack else () for stack in (self.encoder, self.decoder))
        if any(block.cross is not None for block in encoding):
            fix = "leave cross out, or put the block into the decoder"
            raise Refusal("an encoder must attend to its own text alone", "blocks with cross-attention", fix)
        if any(block.attention.causal for block in encoding):
            raise Refusal("an encoder must see its text both ways", "causal: true", "set causal to false")
        if any(block.attention is not None and not block.attention.causal for block in decoding):
            fix = "set causal to true, or make it an encoder; a batch may still have a mask that says otherwise"
            raise Refusal("a decoder must read its text left to right", "causal: false", fix)
        if self.encoder is not None and self.encoder.recall:
            found = f"an encoder with recall {self.encoder.recall}"
            raise Refusal("a stack must read left to right to recall a segment", found, "set its recall to 0")
        if kind(self.head) == "masked" and self.decoder is not None:
            fix = "use an encoder, or the head lm"
            raise Refusal("a model that fills in words must see both sides of them", "a causal decoder", fix)
        return self
