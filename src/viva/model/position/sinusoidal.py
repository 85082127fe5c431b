"""Sinusoidal absolute positions (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout


class Config(BaseConfig):
    """Wavelengths run from 2 pi to `theta` times 2 pi."""

    acts_on: ClassVar[tuple[str, ...]] = ("embeddings",)

    theta: float = 10_000.0

    def build(self, width: int, context: int) -> nn.Module:
        return Sinusoidal(self, width)


class Sinusoidal(nn.Module):
    """PE(pos, 2i) = sin(pos / theta^(2i/E)), PE(pos, 2i+1) = cos of the same angle; [B, T, E] in fp32."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.config, self.width = config, width

    def forward(self, layout: Layout) -> Tensor:
        positions = layout.positions
        even = torch.arange(0, self.width, 2, device=positions.device, dtype=torch.float32)
        angle = positions[..., None].float() / self.config.theta ** (even / self.width)
        return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)[..., : self.width]
