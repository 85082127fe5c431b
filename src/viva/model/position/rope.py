"""Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864): queries and keys are turned by their place.

Dimension i is paired with i + D/2, the layout of every published LLaMA-like checkpoint, rather than with i + 1 as the
paper writes it; the two differ by a fixed permutation of the rows of the query and key matrices.
"""

from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from viva.base.choice import Choice
from viva.base.config import Config as BaseConfig
from viva.base.errors import Refusal
from viva.model.layout import Layout
from viva.model.position import Scheme
from viva.model.position.scaling import default


class Config(BaseConfig):
    """`theta` is the base of the frequencies, `scaling` how they are stretched to a longer context, without which a
    model does not extrapolate.
    """

    acts_on: ClassVar[tuple[str, ...]] = ("attention",)
    by_place: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False  # without a scaling

    theta: float = Field(10_000.0, gt=1)
    scaling: Choice("viva.model.position.scaling") = default.Config()

    def within(self, attention: BaseConfig, context: int) -> Scheme:
        width = attention.head_dim
        if width % 2 or width < 4:
            raise Refusal("heads with rope must have an even width of at least 4", width, "change head_dim or heads")
        return Rope(self, width)


class Rope(Scheme):
    """Tables of cos and sin for a pass, and the turn itself."""

    def __init__(self, config: Config, head_dim: int):
        super().__init__()
        self.config, self.head_dim = config, head_dim
        self._short: dict[torch.device, tuple[Tensor, float]] = {}

    def table(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """(cos, cos) [B, T, 1, D] and sin [B, T, 1, D/2] of every token's angles, in fp32; the same for all layers."""
        frequency, factor = self._frequency(layout)
        angle = layout.positions[..., None, None].float() * frequency
        cos, sin = angle.cos(), angle.sin()
        if factor != 1:
            cos, sin = cos * factor, sin * factor
        return torch.cat((cos, cos), -1), sin

    def _frequency(self, layout: Layout) -> tuple[Tensor, float]:
        """[D/2], or [B or 1, T, 1, D/2] where each document has its own; and the factor on cos and sin."""
        scaling, device = self.config.scaling, layout.positions.device
        angles = partial(scaling.angles, self.config.theta, self.head_dim)
        if not scaling.by_length or layout.end <= scaling.trained:
            if device not in self._short:  # the same in every pass, so in every token
                frequency, factor = angles(1)
                self._short[device] = frequency.to(device), factor
            return self._short[device]
        lengths, which = layout.ends.unique(return_inverse=True)
        found = [angles(int(length)) for length in lengths]
        return torch.stack([frequency for frequency, _ in found]).to(device)[which][..., None, :], found[0][1]

    def turn(self, q: Tensor, k: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Turn q [B, T, H, D] and k [B, T, G, D] by the angles of `table`; same shapes and dtype."""
        cos, sin = table
        if cos.dtype != q.dtype:
            cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        if torch.is_grad_enabled():
            cos = cos.narrow(-1, 0, sin.shape[-1])
            return _Turn.apply(q, cos, sin), _Turn.apply(k, cos, sin)
        x = torch.cat((q, k), -2)  # fewer operations, which is what decoding a token consists of
        turned = x * cos
        (a, b), (left, right) = x.chunk(2, -1), turned.chunk(2, -1)
        left.addcmul_(b, sin, value=-1), right.addcmul_(a, sin)
        return turned.split_with_sizes((q.shape[-2], k.shape[-2]), -2)


class _Turn(torch.autograd.Function):
    """(a, b) -> (a cos - b sin, b cos + a sin); its gradient is the turn by the opposite angle.

    Written as a Function so that training keeps no copy of x and writes each half once.
    """

    @staticmethod
    def forward(ctx, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, sin, -1), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    half = x.shape[-1] // 2
    torch.mul(a, cos, out=out[..., :half]).addcmul_(b, sin, value=-sign)
    torch.mul(b, cos, out=out[..., half:]).addcmul_(a, sin, value=sign)
    return out
