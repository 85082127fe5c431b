"""Mixture of experts (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538): a router sends each token to a few
of many gated networks.

No token is dropped and no expert has a capacity: tokens are sorted by expert, and each expert computes its own.
"""

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.base.elementwise import alike
from viva.base.errors import Refusal
from viva.model.activation import Activation
from viva.model.ffn import glu
from viva.model.layout import Layout
from viva.model.linear.dense import Linear
from viva.model.seats import seats

GATE = alike(torch.sigmoid)  # one number a token: which end of a run it stands in follows from the other tokens


class Config(BaseConfig):
    """`chosen` of `experts` compute a token, each with the hidden width F, `hidden`.

    `normalised` makes the weights of those chosen sum to 1. `shared` is the hidden width of one more expert that
    computes every token, under a gate of its own (Qwen2-MoE, Yang et al. 2024, section 2.2.2); 0 is none. `balance` is
    the weight of the loss that spreads the tokens (Fedus et al. 2021).
    """

    hidden: int = Field(gt=0)
    experts: int = Field(8, gt=0)
    chosen: int = Field(2, gt=0)
    normalised: bool = False
    shared: int = Field(0, ge=0)
    activation: Activation = "silu"
    balance: float = Field(0.01, ge=0)

    @model_validator(mode="after")
    def _fits(self):
        if self.chosen > self.experts:
            found = f"{self.chosen} of {self.experts}"
            raise Refusal("a token must be sent to as many experts as there are, at most", found, "choose fewer")
        return self

    def build(self, width: int) -> nn.Module:
        return MoE(self, width)


class MoE(nn.Module):
    """y = sum over the k chosen experts of p_e GLU_e(x), p = softmax(x W_router); and sigmoid(x w) GLU_shared(x).

    `routed` holds the router's p [..., experts] and choices [..., k] of each pass since they were last asked for, if it
    was one of training; a layer that shares its weights passes several times.
    """

    def __init__(self, config: Config, width: int):
        super().__init__()
        expert = lambda hidden: glu.Config(hidden=hidden, activation=config.activation).build(width)  # noqa: E731
        self.config = config
        self.router = Linear(width, config.experts, bias=False)
        self.experts = nn.ModuleList(expert(config.hidden) for _ in range(config.experts))
        self.shared = expert(config.shared) if config.shared else None
        self.shared_gate = Linear(width, 1, bias=False) if config.shared else None
        self.routed: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        p = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        weights, choices = p.topk(self.config.chosen, -1)
        if self.training and torch.is_grad_enabled():
            self.routed.append((p, choices))
        if self.config.normalised:
            weights = weights / weights.sum(-1, keepdim=True)
        y = self._computed(x.flatten(0, -2), choices.flatten(0, -2))
        y = (weights.to(y.dtype).flatten(0, -2)[..., None] * y).sum(1).view(x.shape)
        return y if self.shared is None else y + GATE(self.shared_gate(x)) * self.shared(x)

    def _computed(self, x: Tensor, choices: Tensor) -> Tensor:
        """What each of its experts makes of each token: x [N, E], choices [N, k] -> [N, k, E]."""
        order = choices.flatten().argsort(stable=True)  # the N k pairs of token and expert, by expert
        counts = choices.flatten().bincount(minlength=self.config.experts).tolist()
        parts = x[order // choices.shape[1]].split(counts)
        # in training those without a token too, so that their gradients are zero rather than absent
        all_work = torch.is_grad_enabled()
        work = zip(self.experts, parts, strict=True)
        out = torch.cat([expert(part) for expert, part in work if all_work or len(part)])
        return out[order.argsort()].view(*choices.shape, -1)


def forget(model: nn.Module) -> None:
    """Forget what was routed where: a backward pass that computes activations again leaves it behind."""
    for module in model.modules():
        if isinstance(module, MoE):
            module.routed = []


def auxiliary(model: nn.Module, layout: Layout | None = None) -> dict[str, Tensor]:
    """The losses that a model's last pass in training adds to that of its objective, by name, each times its weight.

    "balance" is experts x sum over experts of f_e P_e, where of all tokens in all layers f_e is the share that was sent
    to expert e and P_e the mean of its p (Fedus et al. 2021, https://arxiv.org/abs/2101.03961, eq. 4-6). The padding
    that `layout` tells of is left out, and so are virtual tokens that stand before its documents. Calling it forgets
    the passes.
    """
    virtual = getattr(model, "virtual", None)
    passed: dict[Config, list[tuple[Tensor, Tensor]]] = {}
    for module in model.modules():
        if isinstance(module, MoE) and module.routed:
            passed.setdefault(module.config, []).extend(module.routed)
            module.routed = []
    if virtual is not None and layout is not None:
        own = lambda x: seats(layout, len(x), layout.positions.shape[1], virtual.count).collect(x)  # noqa: E731
        passed = {config: [tuple(map(own, kept)) for kept in routed] for config, routed in passed.items()}
    losses = [config.balance * _balance(config, routed, layout) for config, routed in passed.items()]
    return {"balance": sum(losses)} if losses else {}


def _balance(config: Config, routed: list[tuple[Tensor, Tensor]], layout: Layout | None) -> Tensor:
    real = None if layout is None else layout.real
    # an encoder's rows, which are others than the layout's, have no padding in training
    taken = [real if real is not None and real.shape == p.shape[:-1] else ... for p, _ in routed]
    pairs = (zip(taken, kept, strict=True) for kept in zip(*routed, strict=True))
    p, choices = (torch.cat([x[which].flatten(0, -2) for which, x in kept]) for kept in pairs)
    share = choices.flatten().bincount(minlength=config.experts) / len(p)
    return config.experts * (share * p.mean(0)).sum()
