"""Transformer-XL (Dai et al. 2019, https://arxiv.org/abs/1901.02860): post-LayerNorm, relative positions, and the
states of the segment before as a memory. Its tensors have the names of the class that transformers had until version 4.
"""

from typing import Any

from pydantic import Field

from viva.base.errors import Refusal
from viva.model.arch._family import Family, Keys, divided, held, pairs
from viva.model.ffn import mlp
from viva.model.head import lm
from viva.model.norm import layernorm
from viva.model.position import xl
from viva.model.spec import Attention, Block, Entry, Spec, Stack

MODEL_TYPE = "transfo-xl"
HEADS = {"lm": "TransfoXLLMHeadModel"}


class Config(Family):
    """`memory` states of each layer are kept for the next segment, of `context` tokens. With `same_length` every token
    sees as many, itself among them; without, the later ones of a segment see more. Distances beyond `farthest` count as
    that. `hidden` left out is four times the width; `dropout` falls on residuals, embeddings, sinusoids, the inside of
    the feed-forward networks and the last states, `weight_dropout` on attention's weights.
    """

    context: int = Field(128, gt=0)
    memory: int = Field(128, gt=0)
    same_length: bool = False
    farthest: int | None = Field(None, gt=0)
    weight_dropout: float = Field(0.0, ge=0, lt=1)
    eps: float = Field(1e-5, gt=0)
    tied: bool = True

    def spec(self) -> Spec:
        attention = Attention(
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=divided(self.width, self.heads),
            window=self.memory if self.same_length else None,
            position=xl.Config(farthest=self.farthest, dropout=self.dropout),
            dropout=self.weight_dropout,
        )
        block = Block(
            attention=attention,
            ffn=mlp.Config(hidden=self.hidden or 4 * self.width, activation="relu", dropout=self.dropout),
            norm=layernorm.Config(eps=self.eps),
            norm_at="post",
            dropout=self.dropout,
        )
        decoder = Stack(
            layers=self.layers,
            blocks=(block,),
            entry=Entry(scaled=True, dropout=self.dropout),
            final_norm=False,
            dropout=self.dropout,
            recall=self.memory,
        )
        return Spec(
            vocab=self.known_vocab,
            width=self.width,
            context=self.context,
            decoder=decoder,
            head=self.head or lm.Config(tied=self.tied, bias=True),
        )


def from_hf(keys: Keys) -> Config:
    cutoffs, division = keys.take("cutoffs", [20_000, 40_000, 200_000]), keys.take("div_val", 4)
    if cutoffs or division != 1:
        must = "a Transformer-XL must score its whole vocabulary by one matrix, cutoffs [] and div_val 1"
        found = f"an adaptive softmax, cutoffs {cutoffs} and div_val {division}"
        raise Refusal(must, found, "use a model without adaptive softmax, or train one anew")
    width, heads = keys.take("d_model", 1024), keys.take("n_head", 16)
    keys.expect("d_embed", width, default=1024)
    keys.expect("d_head", divided(width, heads), default=64)
    keys.expect("pre_lnorm", False)
    keys.expect("attn_type", 0)
    keys.expect("untie_r", True)
    keys.expect("ext_len", 0)
    keys.ignore(
        adaptive="of one cluster, it is the ordinary softmax",
        proj_share_all_but_first="belongs to the adaptive softmax",
        tie_projs="belongs to the adaptive softmax",
        sample_softmax="used by training alone",
        init="used when training starts anew",
        init_range="used when training starts anew",
        init_std="used when training starts anew",
        proj_init_std="used when training starts anew",
    )
    clamp = keys.take("clamp_len", 1000)
    return Config(
        vocab=keys.take("vocab_size", 267_735),
        width=width,
        layers=keys.take("n_layer", 18),
        heads=heads,
        hidden=keys.take("d_inner", 4096),
        context=keys.take("tgt_len", 128),
        memory=keys.take("mem_len", 1600),
        same_length=keys.take("same_length", True),
        farthest=clamp if clamp > 0 else None,
        dropout=keys.take("dropout", 0.1),
        weight_dropout=keys.take("dropatt", 0.0),
        eps=keys.take("layer_norm_epsilon", 1e-5),
        tied=keys.take("tie_word_embeddings", keys.take("tie_weight", True)),
    )


def to_hf(config: Config) -> dict[str, Any]:
    return {
        "vocab_size": config.known_vocab,
        "cutoffs": [],
        "div_val": 1,
        "d_model": config.width,
        "d_embed": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "d_head": divided(config.width, config.heads),
        "d_inner": config.hidden or 4 * config.width,
        "tgt_len": config.context,
        "mem_len": config.memory,
        "same_length": config.same_length,
        "clamp_len": config.farthest or -1,
        "dropout": config.dropout,
        "dropatt": config.weight_dropout,
        "layer_norm_epsilon": config.eps,
        "tie_word_embeddings": config.tied,
    }


BASE = "transformer."
UNREAD = ("pos_emb.inv_freq",)  # frequencies, which we compute
_ATTENTION = "transformer.layers.{i}.dec_attn."
TENSORS = (
    held("transformer.word_emb.emb_layers.0.weight", "embedding.weight"),
    held("crit.out_layers.0.weight", "head.weight"),
    held("crit.out_layers.0.bias", "head.bias"),
    held(f"{_ATTENTION}qkv_net.weight", *(f"decoder.layers.{{i}}.attention.{part}.weight" for part in "qkv")),
    held(f"{_ATTENTION}o_net.weight", "decoder.layers.{i}.attention.out.weight"),
    held(f"{_ATTENTION}r_net.weight", "decoder.layers.{i}.attention.position.project.weight"),
    held(f"{_ATTENTION}r_w_bias", "decoder.layers.{i}.attention.position.u"),
    held(f"{_ATTENTION}r_r_bias", "decoder.layers.{i}.attention.position.v"),
    *pairs(
        {
            f"{_ATTENTION}layer_norm": "decoder.layers.{i}.attention_norm",
            "transformer.layers.{i}.pos_ff.CoreNet.0": "decoder.layers.{i}.ffn.up",
            "transformer.layers.{i}.pos_ff.CoreNet.3": "decoder.layers.{i}.ffn.down",
            "transformer.layers.{i}.pos_ff.layer_norm": "decoder.layers.{i}.ffn_norm",
        }
    ),
)

TINY = Config(vocab=64, width=16, layers=2, heads=2, hidden=24, context=6, memory=5)
