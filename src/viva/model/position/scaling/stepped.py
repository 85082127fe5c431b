"""Dynamic NTK scaling by chunks (Qwen, Bai et al. 2023, https://arxiv.org/abs/2309.16609, section 2.3): the base grows
when the length at hand passes the trained one, twice it, four times it, ...

As with `dynamic`, keys that a cache holds keep the angles they were turned by, so past `trained` cached decoding and a
full pass differ by design.
"""

import math
from typing import ClassVar

from pydantic import Field
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.position.scaling import dynamic


class Config(BaseConfig):
    """theta' = theta * (2^(ceil(log2(end / trained)) + 1) - 1) ^ (D / (D - 2)): `dynamic` with a factor of 2, of the
    next length that is `trained` times a power of two.
    """

    by_length: ClassVar[bool] = True

    trained: int = Field(gt=0)

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        chunk = self.trained * 2 ** math.ceil(math.log2(max(end, self.trained) / self.trained))
        return dynamic.Config(factor=2.0, trained=self.trained).angles(theta, head_dim, chunk)
