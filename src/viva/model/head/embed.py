"""A vector for each document (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084): its states, pooled."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from viva.base.config import Config as BaseConfig
from viva.model.layout import Layout
from viva.model.linear.dense import Linear
from viva.model.pool import Pool, pooled


class Config(BaseConfig):
    """`normalised` vectors have length 1, so that their dot product is a cosine. `width` projects to another width."""

    pool: Pool = "mean"
    normalised: bool = True
    width: int | None = Field(None, gt=0)

    def build(self, spec: BaseConfig) -> nn.Module:
        return Embed(self, spec.width)


class Embed(nn.Module):
    """[B, T, E] -> [N, E or width]."""

    def __init__(self, config: Config, width: int):
        super().__init__()
        self.config, self.width = config, config.width or width
        self.project = Linear(width, config.width, bias=False) if config.width else None

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        x = pooled(hidden, layout, self.config.pool)
        x = x if self.project is None else self.project(x)
        return normalize(x, dim=-1) if self.config.normalised else x
