"""Sinusoidal absolute positions (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout


class Config(BaseConfig):
    """Wavelengths run from 2 pi to `theta` times 2 pi. `paired` lays sine and cosine of a wave side by side, as the
    paper writes it; without, all sines come first (the authors' code, Marian).
    """

    acts_on: ClassVar[tuple[str, ...]] = ("embeddings",)
    by_place: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False

    theta: float = Field(10_000.0, gt=1)
    paired: bool = True

    def build(self, width: int, context: int) -> nn.Module:
        return Sinusoidal(self, width)


class Sinusoidal(nn.Module):
    """The sinusoids of every token's position, [B, T, E] in fp32."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.config, self.width = config, width

    def forward(self, layout: Layout) -> Tensor:
        return sinusoids(layout.positions, self.width, self.config.theta, self.config.paired)


def sinusoids(positions: Tensor, width: int, theta: float = 10_000.0, paired: bool = True) -> Tensor:
    """PE(pos, 2i) = sin(pos / theta^(2i/E)), PE(pos, 2i+1) = cos of the same angle: [...] -> [..., E]."""
    even = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32)
    angle = positions[..., None].float() / theta ** (even / width)
    if paired:
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)[..., :width]
    return torch.cat((angle.sin(), angle.cos()[..., : width // 2]), dim=-1)
