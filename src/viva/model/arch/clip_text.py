"""CLIP's text tower (Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4): GPT-2 whose last state is
projected to the width that images and texts share.
"""

from typing import Any

from pydantic import Field

from viva.base.config import kind
from viva.base.errors import Refusal
from viva.model.activation import Activation
from viva.model.arch import clip_vision, gpt2
from viva.model.arch._family import Keys, held, name_of, pairs
from viva.model.arch.vit import ACTIVATIONS
from viva.model.ffn import mlp
from viva.model.head import embed, none
from viva.model.spec import Block, Spec, Stack
from viva.text.tokens.tokenizer import Tokenizer

MODEL_TYPE = "clip_text_model"
VOCAB = 49_408  # the published one, whose last token is the end
LARGEST = "the token with the largest id where the end token is 2"
HEADS = {"embed": "CLIPTextModelWithProjection", "none": "CLIPTextModel"}


class Config(gpt2.Body):
    """Theirs pools the state of a text's end token; here that is the last of a document, whatever padding follows,
    and `end`, the id of that token, is theirs to know where no tokenizer says it. `head` left out projects to `width`;
    `dropout` falls on attention's weights alone.
    """

    end: int | None = Field(None, ge=0)
    context: int = Field(77, gt=0)
    activation: Activation = "gelu_sigmoid"

    def block(self) -> Block:
        block = super().block()
        ffn = mlp.Config(hidden=block.ffn.hidden, activation=self.activation)
        return block.model_copy(update={"ffn": ffn, "dropout": 0.0})

    def stack(self) -> Stack:
        stack = super().stack()
        return stack.model_copy(update={"entry": stack.entry.model_copy(update={"dropout": 0.0})})

    def spec(self) -> Spec:
        if self.end is not None and self.vocab is not None and self.end >= self.vocab:
            fix = "give the id of the end token"
            raise Refusal(f"end must be an id of the vocabulary of {self.vocab} tokens", self.end, fix)
        head = self.head or embed.Config(pool="last", normalised=False, width=self.width)
        return Spec(vocab=self.known_vocab, width=self.width, context=self.context, decoder=self.stack(), head=head)


def from_hf(keys: Keys) -> Config:
    clip_vision.ignore(keys)
    vocab, end = keys.take("vocab_size", VOCAB), keys.take("eos_token_id", VOCAB - 1)
    return Config(
        vocab=vocab,
        width=keys.take("hidden_size", 512),
        layers=keys.take("num_hidden_layers", 12),
        heads=keys.take("num_attention_heads", 8),
        hidden=keys.take("intermediate_size", 2048),
        context=keys.take("max_position_embeddings", 77),
        activation=ACTIVATIONS[keys.expect("hidden_act", *ACTIVATIONS, default="quick_gelu")],
        eps=keys.take("layer_norm_eps", 1e-5),
        dropout=keys.take("attention_dropout", 0.0),
        head=clip_vision.read_head(keys, HEADS, "last"),
        end=end if isinstance(end, int) and 0 <= end < vocab else None,  # one that no text can hold says nothing
    )


def to_hf(config: Config) -> dict[str, Any]:
    spec = config.spec()
    return {
        "vocab_size": spec.vocab,
        "hidden_size": spec.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.block().ffn.hidden,
        "max_position_embeddings": spec.context,
        "hidden_act": name_of(config.activation, ACTIVATIONS, MODEL_TYPE),
        "layer_norm_eps": config.eps,
        "attention_dropout": config.dropout,
        **clip_vision.head_to_hf(spec),
    }


def placeholders(config: Config) -> dict[str, Any]:
    return {} if config.end is None else {"eos_token_id": config.end}


def misread(config: Config, tokenizer: Tokenizer | None, keys: dict[str, Any]) -> str | None:
    """Their class pools the first of a text's tokens that is the end, without one its first; where the end is 2, the
    token with the largest id, which is the end of a published vocabulary that nothing was added to.
    """
    spec, end = config.spec(), keys.get("eos_token_id", VOCAB - 1)
    if kind(spec.head) != "embed":
        return None
    if not isinstance(end, int) or end >= spec.vocab:
        return f"the first token, for no text has the end {end}"
    if tokenizer is None:  # texts end in what is told, or as the published ones do
        return LARGEST if end == 2 and spec.vocab != VOCAB else None
    before, after = tokenizer.around_whole
    if end == 2:
        return None if after[-1:] == [tokenizer.vocab_size - 1] else LARGEST
    if end in before:
        return f"the first token {end}, by which a text also begins here"
    return None if after[-1:] == [end] else f"the first token {end}, by which a text does not end here"


BASE = "text_model."
TENSORS = (
    held("text_model.embeddings.token_embedding.weight", "embedding.weight"),
    held("text_model.embeddings.position_embedding.weight", "decoder.entry.position.table.weight"),
    *pairs({"text_model.final_layer_norm": "decoder.norm"}),
    *clip_vision.layers(BASE, "decoder"),
    held("text_projection.weight", "head.project.weight", head="embed"),
)

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64, head=none.Config())
