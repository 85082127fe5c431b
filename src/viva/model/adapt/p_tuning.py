"""P-tuning (Liu et al. 2021, https://arxiv.org/abs/2103.10385, section 3.2, eq. 5): a prompt whose vectors a small
network makes of others, so that they learn together.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.model.adapt import Base
from viva.model.adapt._virtual import attach, drawn, require_text
from viva.model.adapt.prompt import Prompt
from viva.model.lstm import LSTM


class Config(Base):
    """`length` virtual tokens. The `encoder` is an `lstm` of two layers both ways and two maps with a ReLU between, or
    an `mlp` of three maps; `hidden` numbers wide, the model's width if left out. None: the vectors that it made.
    """

    length: int = Field(20, gt=0)
    encoder: Literal["lstm", "mlp"] | None = "lstm"
    hidden: int | None = Field(None, gt=0)

    def attach(self, model: nn.Module, seed: int) -> None:
        require_text(model, self.length)
        width = model.embedding.weight.shape[1]
        with drawn(seed):
            made = Encoded(self, width) if self.encoder else Prompt(self.length, width)
        attach(model, made)

    @torch.no_grad()
    def folded(self, model: nn.Module) -> Base:
        plain = Prompt(self.length, model.embedding.weight.shape[1]).to(model.embedding.weight.device)
        plain.put(model.adapter.made())
        model.adapter = plain
        return self.model_copy(update={"encoder": None, "hidden": None})


class Encoded(Prompt):
    """h = f(e), e [P, E]: f is an MLP, or one behind an LSTM that reads e both ways."""

    def __init__(self, config: Config, width: int):
        super().__init__(config.length, width)
        hidden = config.hidden or width
        if config.encoder == "lstm":
            self.lstm = LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True)
            maps = (nn.Linear(2 * hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, width))
        else:
            self.lstm = None
            inner = (nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
            maps = (*inner, nn.Linear(hidden, width))
        self.mlp = nn.Sequential(*maps)

    def made(self) -> Tensor:
        vectors = self.vectors.weight[None]
        return self.mlp(vectors if self.lstm is None else self.lstm(vectors)[0])[0]
