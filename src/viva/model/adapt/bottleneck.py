"""Small networks behind the parts of each block (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, figure 2)."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.base.seed import derive
from viva.model.activation import ACTIVATIONS, Activation
from viva.model.adapt import Base, Change, put
from viva.model.block import Block
from viva.model.linear.dense import Linear


class Config(Base):
    """`hidden` numbers between the two maps of each. They stand `behind` both attention and the feed-forward network
    (Houlsby), or behind `ffn` alone (Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247).
    """

    hidden: int = Field(64, gt=0)
    activation: Activation = "gelu"
    behind: Literal["both", "ffn"] = "both"

    def attach(self, model: nn.Module, seed: int) -> None:
        blocks = {name: block for name, block in model.named_modules() if isinstance(block, Block)}
        if not blocks:
            raise Refusal("a model must have blocks for bottlenecks to stand in", "none", "adapt a Transformer")
        for name, block in blocks.items():
            places = {"ffn": block.ffn}
            if self.behind == "both":
                crossing = {"attention": block.attention, "cross": block.cross}
                places |= {part: found.out for part, found in crossing.items() if found is not None}
            for part, module in places.items():
                like = next(block.parameters())
                put(module, Bottleneck(self, model.spec.width, derive(seed, "adapter", f"{name}.{part}")).to(like))


class Bottleneck(Change):
    """y [..., E] -> y + act(y W_down) W_up, where W_up begins as zeros, so that the model begins as its base."""

    def __init__(self, config: Config, width: int, seed: int):
        super().__init__()
        self.down, self.up = Linear(width, config.hidden), Linear(config.hidden, width)
        self.act = ACTIVATIONS[config.activation]
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.down.weight.uniform_(-(width**-0.5), width**-0.5, generator=generator)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def after(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return y + self.up(self.act(self.down(y)))
