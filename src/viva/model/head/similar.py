"""How alike two documents are: the cosine of their vectors (Reimers and Gurevych 2019, section 3)."""

from torch import Tensor, nn

from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.head import embed
from viva.model.layout import Layout
from viva.model.pool import Pool


class Config(BaseConfig):
    """Documents come in pairs: the second of a pair follows the first."""

    pool: Pool = "mean"

    def build(self, spec: BaseConfig) -> nn.Module:
        return Similar(embed.Config(pool=self.pool), spec.width)


class Similar(embed.Embed):
    """[B, T, E] -> cosines [N / 2] of documents 0 and 1, 2 and 3, ..."""

    def forward(self, hidden: Tensor, table: Tensor, layout: Layout | None = None) -> Tensor:
        vectors = super().forward(hidden, table, layout)
        if len(vectors) % 2:
            raise Refusal("documents to compare must come in pairs", f"{len(vectors)} of them", "give an even number")
        return (vectors[0::2] * vectors[1::2]).sum(-1)
