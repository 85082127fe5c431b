"""YaRN (Peng et al. 2023, https://arxiv.org/abs/2309.00071): NTK-by-parts (eq. 17-20) and a temperature (eq. 21-22)."""

import math
from typing import ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.position.scaling import plain


class Config(BaseConfig):
    """`beta_fast`, `beta_slow`: rotations over the trained context above which a frequency stays, below which it is
    divided.

    `attention_factor` multiplies cos and sin; left out, it is 0.1 ln(factor) + 1 (eq. 22), or the ratio of two such
    terms when both `mscale` and `mscale_all_dim` are given (DeepSeek's variant). `truncate` rounds the bounds outward,
    as the authors' code does. Where all frequencies turn more than `beta_fast` times none is divided; transformers
    divides them all once the index that turns so often lies beyond its bound of D - 1.
    """

    by_length: ClassVar[bool] = False

    factor: float = Field(ge=1)
    trained: int = Field(gt=0)
    beta_fast: float = Field(32.0, gt=0)
    beta_slow: float = Field(1.0, gt=0)
    attention_factor: float | None = Field(None, gt=0)
    mscale: float | None = Field(None, ge=0)
    mscale_all_dim: float | None = Field(None, ge=0)
    truncate: bool = True

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.beta_fast < self.beta_slow:
            found = f"beta_fast {self.beta_fast:g} and beta_slow {self.beta_slow:g}"
            raise Refusal("beta_fast of yarn must be at least beta_slow", found, "exchange the two, or correct one")
        if self.trained <= 2 * math.pi * self.beta_slow:
            must = "the fastest frequency must turn more than beta_slow times over the trained context"
            found = f"{self.trained / 2 / math.pi:.2g} times in {self.trained} tokens, and beta_slow {self.beta_slow:g}"
            raise Refusal(must, found, "lower beta_slow, or use linear, which divides them all")
        return self

    def angles(self, theta: float, head_dim: int, end: int) -> tuple[Tensor, float]:
        frequency = plain(theta, head_dim)
        low = max(self._index(self.beta_fast, theta, head_dim, math.floor), 0)
        high = min(self._index(self.beta_slow, theta, head_dim, math.ceil), head_dim - 1)
        steps = torch.arange(head_dim // 2, dtype=torch.float32)
        divide = ((steps - low) / max(high - low, 1e-3)).clamp(0, 1)
        return torch.lerp(frequency, frequency / self.factor, divide), self._temperature()

    def _index(self, rotations: float, theta: float, head_dim: int, outward) -> float:
        """The frequency's index i whose wave turns `rotations` times over the trained context (eq. 16 solved for i)."""
        index = head_dim * math.log(self.trained / (rotations * 2 * math.pi)) / (2 * math.log(theta))
        return outward(index) if self.truncate else index

    def _temperature(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self._log_term(self.mscale) / self._log_term(self.mscale_all_dim)
        return self._log_term(1.0)

    def _log_term(self, weight: float) -> float:
        return 0.1 * weight * math.log(self.factor) + 1.0
