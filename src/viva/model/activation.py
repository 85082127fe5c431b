"""Elementwise non-linearities by name."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor
from torch.nn import functional

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,  # x Phi(x), Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),  # its approximation there, used by GPT-2
    "silu": functional.silu,  # x sigmoid(x), section 2 of the same paper
}
