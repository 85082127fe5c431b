"""Prompt tuning (Lester et al. 2021, https://arxiv.org/abs/2104.08691, section 2): the vectors of `length` virtual
tokens before each text, or before the source of an encoder and decoder, are all that is trained.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.model.adapt import Base
from viva.model.adapt._virtual import Text, Virtual, attach, drawn, require_text, sampled, spelled


class Config(Base):
    """They begin as vectors of the `vocabulary`, drawn without repetition, as `random` ones of the same deviation, or
    as those of the tokens of a `text`, over again until there are enough (section 3.2).
    """

    length: int = Field(20, gt=0)
    init: Literal["vocabulary", "random"] = "vocabulary"
    text: str | None = None

    def attach(self, model: nn.Module, seed: int) -> None:
        require_text(model, self.length)
        table = model.embedding.weight
        with drawn(seed):
            prompt = Prompt(self.length, table.shape[1])
        with torch.no_grad():
            prompt.vectors.weight.mul_(table.std().cpu())
        attach(model, prompt)
        if self.init == "vocabulary":
            prompt.put(table[sampled(model, self.length, seed).to(table.device)])

    def begin(self, model: nn.Module, encode: Callable[[str], list[int]] | None) -> None:
        if self.text is not None:
            table = model.embedding.weight
            model.adapter.put(table[spelled(self.text, encode, self.length).to(table.device)])


class Prompt(Virtual):
    """Vectors [P, E] in the place of tokens'."""

    def __init__(self, count: int, width: int):
        super().__init__(count)
        self.vectors = nn.Embedding(count, width)

    def made(self) -> Tensor:
        """[P, E]."""
        return self.vectors.weight

    @torch.no_grad()
    def put(self, vectors: Tensor) -> None:
        """Let them be these."""
        self.vectors.weight.copy_(vectors)

    def ahead_of(self, text: Text) -> Text:
        text = self._seated(text)
        return text._replace(x=text.seats.fill(text.x, self.made()))
