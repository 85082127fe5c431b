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
from viva.model.linear.joined import names, split
from viva.model.transformer import Transformer

STD = 0.02  # of GPT-1 (Radford et al. 2018, section 4.1) and of most since
# Of recurrent and convolutional models. With a tied head +-0.1 is small: attention then learns several times slower.
TABLE = 0.25


@torch.no_grad()
def initialise(model: Transformer, seed: int = 0, part: str = "") -> Transformer:
    """Starting weights, biases 0, norms 1, of the modules whose names begin with `part`. The same seed gives the same
    weights whatever was drawn before.

    "normal": N(0, 0.02^2), and what writes into the residual stream scaled by 1 / sqrt(2 layers) (GPT-2, Radford et al.
    2019, section 2.3). "xavier": matrices uniform in +-sqrt(6 / (in + out)) (Glorot and Bengio 2010), tables
    N(0, 1 / E), as the original Transformer had them. "fan_in": matrices N(0, 1 / in), queries a further 1 / sqrt(D)
    smaller in place of the scale of scores, tables of positions N(0, 1 / E) and of tokens N(0, 1), as T5 has them
    (Raffel et al. 2020 by way of Shazeer et al. 2018, Mesh-TensorFlow). "uniform": matrices as in "xavier", those of
    recurrent cells uniform in +-1 / sqrt(E), as torch has them, tables in +-0.25, about the spread of trained word
    vectors (Kim 2014), and an LSTM's forget gates begin open, at bias 1 (Jozefowicz et al. 2015).
    """
    generator = torch.Generator().manual_seed(derive(seed, "weights"))
    draws = {
        "normal": partial(_normal, model),
        "xavier": _xavier,
        "fan_in": partial(_fan_in, model),
        "uniform": _uniform,
    }
    draw = draws[model.spec.init]
    for name, module in model.named_modules():
        if not name.startswith(part):
            continue
        for leaf, weight in list(module.named_parameters(recurse=False)):
            if leaf == "bias" and isinstance(module, nn.Linear | nn.Conv2d):
                weight.zero_()
            elif isinstance(module, nn.RNNBase):
                _cells(module, leaf, weight, generator)
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


def _fan_in(model: Transformer, name: str, module: nn.Module, weight: Tensor, generator: torch.Generator) -> None:
    block = model.spec.stacks[0].blocks[0]
    head_dim = (block.attention or block.cross).head_dim
    for piece, part in zip(names(name, module, "weight"), split(module, weight), strict=True):
        fan = model.spec.width if isinstance(module, nn.Embedding) else part.shape[1]
        fan = 1 if piece == "embedding.weight" else fan * head_dim if piece.endswith(".q.weight") else fan
        part.copy_(torch.empty(part.shape).normal_(0, fan**-0.5, generator=generator))


def _uniform(name: str, module: nn.Module, weight: Tensor, generator: torch.Generator) -> None:
    if isinstance(module, nn.Linear):
        _xavier(name, module, weight, generator)
    else:
        weight.copy_(torch.empty(weight.shape).uniform_(-TABLE, TABLE, generator=generator))


def _cells(module: nn.RNNBase, leaf: str, weight: Tensor, generator: torch.Generator) -> None:
    """Of recurrent cells, whose matrices are of all gates, an LSTM's forget gate the second."""
    if leaf.startswith("weight"):
        bound = module.hidden_size**-0.5
        weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
        return
    weight.zero_()
    if isinstance(module, nn.LSTM) and leaf.startswith("bias_ih"):
        weight[module.hidden_size : 2 * module.hidden_size] = 1.0


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
