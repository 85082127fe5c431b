"""Position interpolation (Chen et al. 2023, https://arxiv.org/abs/2306.15595, eq. 4): positions divided by a factor."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.position.scaling import plain


class Config(BaseConfig):
    """`factor` is how many times longer the context becomes."""

    by_length: ClassVar[bool] = False

    factor: float = Field(ge=1)

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        return plain(theta, head_dim) / self.factor, 1.0
