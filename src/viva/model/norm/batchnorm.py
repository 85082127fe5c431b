"""BatchNorm (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, algorithms 1 and 2), for comparison: each of
the E numbers is centred and scaled over the tokens of a batch.

In training a token's states then depend on every other token of the batch, on those of later places too.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal


class Config(BaseConfig):
    """`eps` is added to the variance. After each pass of training the running mean and variance, which evaluation uses,
    move by `momentum` towards those of its tokens.
    """

    over_batch: ClassVar[bool] = True

    eps: float = Field(1e-5, gt=0)
    momentum: float = Field(0.1, gt=0, le=1)

    def build(self, width: int) -> nn.Module:
        return BatchNorm(self, width)


class BatchNorm(nn.Module):
    """y = (x - mean) / sqrt(var + eps) * w + b, with the mean and variance [E] of the real tokens.

    `real` [B, T] says which tokens are real, None that all are. The others come out as 0 and count nowhere. Frozen, as
    beside an adapter, it computes in training what it does in evaluation, and its running mean and variance stay.
    """

    over_batch = True

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.eps, self.momentum = config.eps, config.momentum

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        if real is None:
            return self._normed(x.flatten(0, -2)).view(x.shape)
        real = real.expand(x.shape[:-1])
        return torch.zeros_like(x).index_put((real,), self._normed(x[real]))

    def _normed(self, tokens: Tensor) -> Tensor:
        """[N, E] -> [N, E]."""
        by_batch = self.training and self.weight.requires_grad
        if by_batch and len(tokens) < 2:
            raise Refusal("BatchNorm must see two tokens to have a variance", len(tokens), "make the batch larger")
        learned, seen = (self.weight, self.bias), (self.mean, self.var)
        return batch_norm(tokens, *seen, *learned, by_batch, self.momentum, self.eps)
