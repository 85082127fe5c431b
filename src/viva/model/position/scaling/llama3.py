"""The scaling of Llama 3.1 (its reference code; Dubey et al. 2024, https://arxiv.org/abs/2407.21783): by wavelength.

Waves shorter than trained / high_freq_factor stay, those longer than trained / low_freq_factor are divided by `factor`,
and between the two a linear blend leads from one to the other.
"""

import math
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.position.scaling import plain


class Config(BaseConfig):
    """Wavelengths and `trained` in tokens."""

    by_length: ClassVar[bool] = False

    factor: float = Field(8.0, ge=1)
    low_freq_factor: float = Field(1.0, gt=0)
    high_freq_factor: float = Field(4.0, gt=0)
    trained: int = Field(8192, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low_freq_factor >= self.high_freq_factor:
            found = f"low_freq_factor {self.low_freq_factor:g} and high_freq_factor {self.high_freq_factor:g}"
            fix = "exchange the two, or correct one"
            raise Refusal("low_freq_factor of llama3 must be below high_freq_factor", found, fix)
        return self

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        frequency = plain(theta, head_dim)
        waves_in_context = self.trained * frequency / (2 * math.pi)
        keep = (waves_in_context - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return torch.lerp(frequency / self.factor, frequency, keep.clamp(0, 1)), 1.0
