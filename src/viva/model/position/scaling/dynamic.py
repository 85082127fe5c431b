"""Dynamic NTK scaling: the base grows with the length at hand, once that passes the trained one.

Described in YaRN (Peng et al. 2023, https://arxiv.org/abs/2309.00071, section 3.3 and appendix B). Keys that a cache
holds keep the angles they were turned by, so past `trained` cached decoding and a full pass differ by design.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.model.position.scaling import plain


class Config(BaseConfig):
    """theta' = theta * (factor * end / trained - (factor - 1)) ^ (D / (D - 2))."""

    by_length: ClassVar[bool] = True

    factor: float = Field(ge=1)
    trained: int = Field(gt=0)

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        stretch = self.factor * max(end, self.trained) / self.trained - (self.factor - 1)
        return plain(theta * stretch ** (head_dim / (head_dim - 2)), head_dim), 1.0
