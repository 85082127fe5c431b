"""What a state is worth: a linear map of the policy's own states, or of those of a second model."""

from copy import deepcopy

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.head import none
from viva.model.transformer import Transformer
from viva.train.batch import Batch


class Config(BaseConfig):
    """`own`: a model beside the policy, that begins as a copy of it; else values are read off the policy's states, and
    what they teach reaches the policy too. `weight` of their loss, c_1 in equation 9; `clip`: how far a value may go
    from what it was before it is learned no further, null anywhere.
    """

    own: bool = False
    weight: float = Field(0.1, ge=0)
    clip: float | None = Field(0.2, gt=0)

    def build(self, policy: Transformer) -> "Head":
        """The critic, which finds every state worth 0."""
        return (Own if self.own else Head)(policy).to(next(policy.parameters()).device)

    def losses(self, values: Tensor, old: Tensor, returns: Tensor) -> Tensor:
        """(V_t - R_t)^2, or where that is larger the same of V_t held to `clip` around V_old: what was already moved
        so far towards R_t has no gradient (Engstrom et al. 2020, https://arxiv.org/abs/2005.12729, section 3).
        """
        losses = (values - returns).square()
        if self.clip is None:
            return losses
        return torch.maximum(losses, (old + (values - old).clamp(-self.clip, self.clip) - returns).square())


class Head(nn.Module):
    """V = w h + b of the states h [M, E] that the policy's head reads; w and b begin at 0."""

    def __init__(self, policy: Transformer):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(policy.head_weight.shape[1], dtype=policy.head_weight.dtype))
        self.bias = nn.Parameter(torch.zeros((), dtype=policy.head_weight.dtype))

    def forward(self, states: Tensor, batch: Batch) -> Tensor:
        """[M], in fp32 or wider, of the places where a token of the batch is to be predicted."""
        return (states * self.weight).sum(-1) + self.bias


class Own(Head):
    """The same of the states of a model of its own, and no other."""

    def __init__(self, policy: Transformer):
        super().__init__(policy)
        self.weight = nn.Parameter(self.weight.new_zeros(policy.spec.width))
        self.trunk = deepcopy(policy)
        self.trunk.head = none.Config().build(policy.spec)

    def forward(self, states: Tensor, batch: Batch) -> Tensor:
        return super().forward(self.trunk.hidden(batch.ids, batch.layout)[batch.targets >= 0], batch)
