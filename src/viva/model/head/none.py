"""No head: the states themselves."""

from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout


class Config(BaseConfig):
    """No fields."""

    def build(self, spec: BaseConfig) -> nn.Module:
        return States()


class States(nn.Module):
    """[B, T, E] as it is."""

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        return hidden
