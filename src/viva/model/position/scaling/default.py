"""No scaling: the frequencies of RoFormer."""

from typing import ClassVar

from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.position.scaling import plain


class Config(BaseConfig):
    """Nothing to choose."""

    by_length: ClassVar[bool] = False

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        return plain(theta, head_dim), 1.0
