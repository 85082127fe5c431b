"""No positions: order is known only through the mask (Haviv et al. 2022, https://arxiv.org/abs/2203.16634)."""

from typing import ClassVar

from viva.base.config import Config as BaseConfig


class Config(BaseConfig):
    """Accepted in both places; builds nothing."""

    acts_on: ClassVar[tuple[str, ...]] = ("embeddings", "attention")
    by_place: ClassVar[bool] = False
    extrapolates: ClassVar[bool] = False

    def build(self, width: int, context: int) -> None:
        return None

    def within(self, attention: BaseConfig, context: int) -> None:
        return None
