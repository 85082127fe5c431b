"""Frozen linear maps in 4-bit NormalFloat with double quantisation (Dettmers et al. 2023,
https://arxiv.org/abs/2305.14314, section 3): 4.127 bits a weight.

A weight is one of 16 numbers times the largest of its block; these are 8-bit floats themselves, about their mean. The
product is that of the weights they stand for, which are made for it and not kept.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viva.base.product import product
from viva.model.linear.dense import Linear
from viva.model.linear.joined import Joined

BLOCK, BLOCKS = 64, 256  # weights of one scale; scales of one scale of theirs
MADE = 10  # bytes for each weight, at most, while a matrix is made: twice in fp32, then in half precision
FLOAT8 = torch.float8_e4m3fn
# quantiles of N(0, 1), 0 among them, as the paper prints them (appendix E)
CODE = torch.tensor(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)
PAIRS = torch.cartesian_prod(CODE, CODE)  # [256, 2]: what a byte stands for


def quantised(module: nn.Linear) -> nn.Linear:
    """The same map with its weight in NF4, unless it is; a Joined gives its parts as before."""
    if isinstance(module, LinearNF4 | JoinedNF4):
        return module
    return JoinedNF4(module) if isinstance(module, Joined) else LinearNF4(module)


@cache
def _pairs(device: torch.device) -> Tensor:
    """PAIRS on a device: a GPU would wait for them at every product."""
    return PAIRS.to(device)


class Packed(nn.Module):
    """A weight [out, in] as `codes`, two a byte, `scales` [blocks] in 8 bits, `steps` of these and their `mean`."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.shape, self.dtype = weight.shape, weight.dtype
        blocks = _in_rows(weight.detach().float().flatten(), BLOCK)
        largest = blocks.abs().amax(1)
        mean = largest.mean()
        groups = _in_rows(largest - mean, BLOCKS)
        steps = groups.abs().amax(1) / torch.finfo(FLOAT8).max
        scales = groups / steps.clamp(min=torch.finfo(steps.dtype).tiny)[:, None]
        self.register_buffer("mean", mean)
        self.register_buffer("steps", steps)
        self.register_buffer("scales", scales.to(FLOAT8).flatten()[: len(blocks)].clone())
        borders = (CODE[1:] + CODE[:-1]) / 2
        ratios = blocks / self._largest().clamp(min=torch.finfo(blocks.dtype).tiny)[:, None]
        codes = torch.bucketize(ratios, borders.to(blocks.device), out_int32=True).to(torch.uint8).flatten()
        self.register_buffer("codes", codes[::2] << 4 | codes[1::2])

    def forward(self) -> Tensor:
        """The weight that is stood for, [out, in]."""
        pairs = functional.embedding(self.codes.int(), _pairs(self.codes.device))
        weights = pairs.view(-1, BLOCK) * self._largest()[:, None]
        return weights.flatten()[: self.shape.numel()].view(self.shape).to(self.dtype)

    def _largest(self) -> Tensor:
        """The largest weight of each block."""
        return _in_rows(self.scales.float(), BLOCKS).mul(self.steps[:, None]).flatten()[: len(self.scales)] + self.mean


def _in_rows(flat: Tensor, size: int) -> Tensor:
    """Numbers in rows of `size`, filled up with zeros."""
    return functional.pad(flat, (0, -len(flat) % size)).view(-1, size)


class LinearNF4(Linear):
    """x [..., in] -> [..., out]."""

    def __init__(self, module: nn.Linear):
        nn.Module.__init__(self)  # the weight is no parameter
        self.in_features, self.out_features, self.bias = module.in_features, module.out_features, module.bias
        self.packed = Packed(module.weight)

    @property
    def weight(self) -> Tensor:
        """What is stood for, [out, in]."""
        return self.packed()

    def forward(self, x: Tensor) -> Tensor:
        return _Through.apply(x, self.packed, self.bias)


class JoinedNF4(Joined):
    """x [..., in] -> a tensor [..., out] for each of the named parts."""

    def __init__(self, module: Joined):
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.bias = module.in_features, module.out_features, module.bias
        self.names, self.outs = module.names, module.outs
        self.packed = Packed(module.weight)

    weight = LinearNF4.weight

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return _Through.apply(x, self.packed, self.bias).split_with_sizes(self.outs, -1)


class _Through(torch.autograd.Function):
    """y = x W^T + b, dl/dx = dl/dy W; W is made twice rather than kept, and has no gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, packed: Packed, bias: Tensor | None) -> Tensor:
        ctx.packed, ctx.dtype = packed, x.dtype
        return product(x, packed().to(x.dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        by_bias = grad.flatten(0, -2).sum(0) if ctx.needs_input_grad[2] else None
        return product(grad, ctx.packed().to(grad.dtype).T).to(ctx.dtype), None, by_bias


def shapes(model: nn.Module) -> list[torch.Size]:
    """Those of the matrices [out, in] that the packed weights of a model stand for."""
    return [module.shape for module in model.modules() if isinstance(module, Packed)]


def weights(model: nn.Module) -> int:
    """How many numbers the packed weights of a model stand for."""
    return sum(shape.numel() for shape in shapes(model))
