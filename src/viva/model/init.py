"""The starting weights of a new model."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from viva.base.seed import derive
from viva.model.transformer import Transformer

STD = 0.02  # of GPT-1 (Radford et al. 2018, section 4.1) and of most since


@torch.no_grad()
def initialise(model: Transformer, seed: int = 0) -> Transformer:
    """Weights N(0, 0.02^2), those that write into the residual stream scaled by 1 / sqrt(2 layers) (GPT-2, Radford et
    al. 2019, section 2.3), biases 0, norms 1. The same seed gives the same weights whatever was drawn before.
    """
    generator = torch.Generator().manual_seed(derive(seed, "weights"))
    residual = STD / math.sqrt(2 * model.spec.decoder.layers)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            std = residual if name.endswith(("attention.out", "ffn.down")) else STD
            module.weight.copy_(torch.empty(module.weight.shape).normal_(0, std, generator=generator))
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()
    return model


@contextmanager
def hollow() -> Iterator[None]:
    """A model built inside has shapes but neither memory nor values, for a checkpoint to fill."""
    with torch.device("meta"), _NoInit():
        yield


class _NoInit(TorchFunctionMode):
    """Leaves out torch.nn.init: drawing normal numbers on the meta device would import the compiler, for seconds."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return function(*args, **(kwargs or {}))
