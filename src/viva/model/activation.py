"""Elementwise non-linearities by name, and the product by which a gate uses one."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from viva.base.elementwise import Elementwise, alike
from viva.model.again import cheap

Activation = Literal["relu", "relu2", "gelu", "gelu_tanh", "gelu_sigmoid", "silu", "tanh"]

FUNCTIONS: dict[str, Elementwise] = {
    "relu": functional.relu,
    "relu2": lambda x: functional.relu(x).square(),  # So et al. 2021, https://arxiv.org/abs/2109.08668
    "gelu": functional.gelu,  # x Phi(x), Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),  # its approximation there, used by GPT-2
    "gelu_sigmoid": lambda x: x * torch.sigmoid(1.702 * x),  # the other approximation there, used by CLIP
    "silu": functional.silu,  # x sigmoid(x), section 2 of the same paper
    "tanh": torch.tanh,
}
ACTIVATIONS = {name: alike(function) for name, function in FUNCTIONS.items()}


def unchanged(x: Tensor) -> Tensor:
    """A dropout of 0, without the cost of a module at every token."""
    return x


ROWS = 128  # rows at a time, so that the passes over them find them in the cache


def gated(activation: Activation, gate: Tensor, up: Tensor) -> Tensor:
    """act(gate) * up, elementwise. With silu, training keeps the two arguments and nothing in between."""
    if activation == "silu" and torch.is_grad_enabled():
        return cheap(_SwiGLU.apply(gate, up), _swiglu, gate, up)
    active = ACTIVATIONS[activation](gate)
    return active * up if torch.is_grad_enabled() else active.mul_(up)


class _SwiGLU(torch.autograd.Function):
    """With s = sigmoid(g) and a = g s: y = a u, dl/du = dl/dy a, dl/dg = dl/dy u (a + s (1 - a)).

    The backward pass computes in fp32 or wider, the forward pass in the dtype given. On a GPU, which keeps no rows
    between two kernels, whole tensors go through the fewest (`_by_both`).
    """

    @staticmethod
    def forward(ctx, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return _swiglu(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        gate, up = ctx.saved_tensors
        if gate.is_cuda:
            return _by_both(grad, gate, up)
        by_gate, by_up = (torch.empty(gate.shape, dtype=gate.dtype, device=gate.device) for _ in range(2))
        for g, u, d, dg, du in _rows(gate, up, grad, by_gate, by_up):
            s = g.to(torch.promote_types(g.dtype, torch.float32)).sigmoid()
            a = g * s
            torch.mul(a, d, out=du)
            torch.mul(torch.addcmul(a, s, 1 - a).mul_(u), d, out=dg)
        return by_gate, by_up


def _by_both(grad: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """dl/dg and dl/du. In bf16 dl/dy u and silu(g) are rounded on the way; fp16 has no room for them."""
    if gate.dtype == torch.float16:
        found = _by_both(grad.float(), gate.float(), up.float())
        return found[0].half(), found[1].half()
    return torch.ops.aten.silu_backward(grad * up, gate), functional.silu(gate).mul_(grad)


def _swiglu(gate: Tensor, up: Tensor) -> Tensor:
    if gate.is_cuda:
        return functional.silu(gate).mul_(up)
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    for g, u, y in _rows(gate, up, out):
        torch.mul(functional.silu(g), u, out=y)
    return out


def _rows(*tensors: Tensor):
    """The same few rows of each, in turn."""
    return zip(*(t.reshape(-1, t.shape[-1]).split(ROWS) for t in tensors), strict=True)
