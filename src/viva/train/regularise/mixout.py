"""Mixout: dropout towards the pretrained weights (Lee et al. 2020, https://arxiv.org/abs/1909.11299, eq. 5)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import Field
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model import folder
from viva.train import checkpoint
from viva.train.batch import Batch
from viva.train.objective import Ground, Loss, Objective
from viva.train.regularise import Base


class Config(Base):
    """Each weight u that began as w is used as w with probability `p`, else as w + (u - w) / (1 - p), so that its mean
    is u. Of the matrices of blocks; what is drawn is the same in all micro-batches of an update. The paper's `p` is 0.7
    to 0.9 for BERT on small data.
    """

    p: float = Field(0.7, gt=0, lt=1)

    def wrap(self, objective: Objective, ground: Ground) -> Objective:
        pretrained = _pretrained(ground)
        ground.beside.append(lambda: [*pretrained.values()])

        def mixed(model: nn.Module, batch: Batch) -> Loss:
            if not model.training:
                return objective(model, batch)
            weights = dict(model.named_parameters())
            generator = torch.Generator().manual_seed(batch.draw)
            with instead(model, {n: mix(weights[n], w, self.p, generator) for n, w in pretrained.items()}):
                return objective(model, batch)

        return mixed


def mix(weight: Tensor, pretrained: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """The weight as it is used."""
    kept = torch.empty(weight.shape).bernoulli_(1 - p, generator=generator).to(weight)
    return pretrained + kept * (weight - pretrained) / (1 - p)


def _pretrained(ground: Ground) -> dict[str, Tensor]:
    """The first weights of the matrices in blocks that are trained, by name."""
    model = ground.model
    if ground.parent is None:
        raise Refusal(
            "mixout must have pretrained weights to go back to", "a new model", "give `init`, or leave it out"
        )
    if any(stack.recompute for stack in model.stacks):
        found, fix = "train.recompute", "leave one of them out"
        raise Refusal("mixed weights must be there in the backward pass", found, fix)
    blocks = [path for path, part in model.named_modules() if part in model.stacks]
    first = folder.load(checkpoint.located(ground.parent), torch.float32).model.state_dict()
    trained = [n for n, u in model.named_parameters() if u.requires_grad and u.ndim == 2 and _within(n, blocks)]
    names = [name for name in trained if name in first]
    if not names:
        found = "those of an adapter, which begin anew" if trained else "none"
        fix = "leave it out, or train the model itself" if trained else "leave it out, or freeze less"
        raise Refusal("a model must have blocks whose pretrained weights are trained for mixout", found, fix)
    device = next(model.parameters()).device
    return {name: first[name].clone().to(device) for name in names}


def _within(name: str, blocks: list[str]) -> bool:
    return any(name.startswith(f"{path}.layers.") for path in blocks)


@contextmanager
def instead(model: nn.Module, tensors: dict[str, Tensor]) -> Iterator[None]:
    """Compute with `tensors` in the place of parameters, through which gradients reach these."""
    kept = []
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        kept.append((module, leaf, module._parameters.pop(leaf)))
        setattr(module, leaf, tensor)
    try:
        yield
    finally:
        for module, leaf, parameter in kept:
            delattr(module, leaf)
            module._parameters[leaf] = parameter
