"""Qwen2-MoE (Yang et al. 2024, https://arxiv.org/abs/2407.10671, section 2.2.2): Qwen2 with experts, one of them shared
by all tokens.
"""

from typing import Any, Self

from pydantic import Field, model_validator

from viva.base.errors import Refusal
from viva.model.arch import _decoder, llama, qwen2
from viva.model.arch._family import Keys, held
from viva.model.ffn import moe
from viva.model.spec import Block

MODEL_TYPE = "qwen2_moe"
HEADS = _decoder.heads("Qwen2Moe")


class Config(llama.Kin):
    """`chosen` of `experts` of width `expert_hidden`, and one of `shared_hidden`, in every `every`-th layer except the
    `dense_layers`, which like the others have a network of width `hidden`. `normalised` and `balance` as in ffn/moe.
    """

    experts: int = Field(60, gt=0)
    chosen: int = Field(4, gt=0)
    expert_hidden: int = Field(1408, gt=0)
    shared_hidden: int = Field(5632, gt=0)
    normalised: bool = False
    balance: float = Field(0.001, ge=0)
    every: int = Field(1, gt=0)
    dense_layers: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hidden is not None and all(self.is_sparse):
            fix = "leave hidden out; the width of the experts is expert_hidden"
            raise Refusal("hidden must be the width of layers without experts", "experts in every layer", fix)
        return self

    @property
    def is_sparse(self) -> list[bool]:
        """Which layers have experts."""
        return [(i + 1) % self.every == 0 and i not in self.dense_layers for i in range(self.layers)]

    def attention(self):
        return qwen2.biased(super().attention())

    def blocks(self) -> tuple[Block, ...]:
        dense = self.block()
        experts = moe.Config(
            hidden=self.expert_hidden,
            experts=self.experts,
            chosen=self.chosen,
            normalised=self.normalised,
            shared=self.shared_hidden,
            balance=self.balance,
        )
        sparse = dense.model_copy(update={"ffn": experts})
        if all(self.is_sparse):
            return (sparse,)
        return tuple(sparse if is_so else dense for is_so in self.is_sparse)


def from_hf(keys: Keys) -> Config:
    fields = llama.sizes(keys, HEADS, context=32_768, kv_heads=16)
    keys.expect("qkv_bias", True)
    keys.expect("use_sliding_window", False)
    keys.expect("layer_types", None, ["full_attention"] * fields["layers"])
    keys.ignore(
        sliding_window="no layer slides",
        max_window_layers="no layer slides",
        output_router_logits="the caller chooses",
    )
    hidden = fields.pop("hidden")
    config = Config(
        **fields,
        experts=keys.take("num_experts", 60),
        chosen=keys.take("num_experts_per_tok", 4),
        expert_hidden=keys.take("moe_intermediate_size", 1408),
        shared_hidden=keys.take("shared_expert_intermediate_size", 5632),
        normalised=keys.take("norm_topk_prob", False),
        balance=keys.take("router_aux_loss_coef", 0.001),
        every=keys.take("decoder_sparse_step", 1),
        dense_layers=tuple(keys.take("mlp_only_layers", (), null=())),
    )
    return config if all(config.is_sparse) else Config.model_validate({**dict(config), "hidden": hidden})


def to_hf(config: Config) -> dict[str, Any]:
    return {
        **llama.sizes_to_hf(config),
        "intermediate_size": config.block().ffn.hidden,
        "qkv_bias": True,
        "use_sliding_window": False,
        "num_experts": config.experts,
        "num_experts_per_tok": config.chosen,
        "moe_intermediate_size": config.expert_hidden,
        "shared_expert_intermediate_size": config.shared_hidden,
        "norm_topk_prob": config.normalised,
        "router_aux_loss_coef": config.balance,
        "decoder_sparse_step": config.every,
        "mlp_only_layers": list(config.dense_layers),
    }


BASE = llama.BASE
TENSORS = (
    *llama.TENSORS,
    held("model.layers.{i}.mlp.gate.weight", "decoder.layers.{i}.ffn.router.weight"),
    held("model.layers.{i}.mlp.shared_expert_gate.weight", "decoder.layers.{i}.ffn.shared_gate.weight"),
    *(
        held(f"model.layers.{{i}}.mlp.{theirs}.{part}_proj.weight", f"decoder.layers.{{i}}.ffn.{ours}.{part}.weight")
        for theirs, ours in {"experts.{e}": "experts.{e}", "shared_expert": "shared"}.items()
        for part in ("gate", "up", "down")
    ),
)

TINY = Config(
    vocab=64,
    width=32,
    layers=2,
    heads=4,
    kv_heads=2,
    context=64,
    tied=False,
    experts=6,
    chosen=2,
    expert_hidden=16,
    shared_hidden=24,
)
