"""The starting weights of a new model."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from viva.base.seed import derive
from viva.model.head import Vocabulary
from viva.model.linear.joined import split
from viva.model.transformer import Transformer

STD = 0.02  # of GPT-1 (Radford et al. 2018, section 4.1) and of most since


@torch.no_grad()
def initialise(model: Transformer, seed: int = 0) -> Transformer:
    """Starting weights, biases 0, norms 1. The same seed gives the same weights whatever was drawn before.

    "normal": N(0, 0.02^2), and what writes into the residual stream scaled by 1 / sqrt(2 layers) (GPT-2, Radford et al.
    2019, section 2.3). "xavier": matrices uniform in +-sqrt(6 / (in + out)) (Glorot and Bengio 2010), tables
    N(0, 1 / E), as the original Transformer had them.
    """
    generator = torch.Generator().manual_seed(derive(seed, "weights"))
    draw = {"normal": partial(_normal, model), "xavier": _xavier}[model.spec.init]
    for name, module in model.named_modules():
        for leaf, weight in list(module.named_parameters(recurse=False)):
            if leaf == "bias" and isinstance(module, nn.Linear | nn.Conv2d):
                weight.zero_()
            elif leaf == "weight" and isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding | Vocabulary):
                draw(name, module, weight, generator)
    return model


def _normal(model: Transformer, name: str, module: nn.Module, weight: Tensor, generator: torch.Generator) -> None:
    layers = model.spec.stacks[-1].layers
    writes = name.endswith(("attention.out", "cross.out", ".down"))
    std = STD / math.sqrt(2 * layers) if writes else STD
    weight.copy_(torch.empty(weight.shape).normal_(0, std, generator=generator))


def _xavier(name: str, module: nn.Module, weight: Tensor, generator: torch.Generator) -> None:
    if not isinstance(module, nn.Linear | nn.Conv2d):
        weight.copy_(torch.empty(weight.shape).normal_(0, weight.shape[1] ** -0.5, generator=generator))
        return
    for part in split(module, weight):
        bound = math.sqrt(6 / sum(part.flatten(1).shape))
        part.copy_(torch.empty(part.shape).uniform_(-bound, bound, generator=generator))


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
