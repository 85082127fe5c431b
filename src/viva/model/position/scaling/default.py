"""No scaling: the frequencies of RoFormer."""

from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.position.scaling import plain


class Config(BaseConfig):
    """Nothing to choose."""

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        return plain(theta, head_dim), 1.0
