"""A number that is not finite stops the run before it reaches the weights, and leaves the evidence in its folder."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.base.files import whole_folder
from viva.train.batch import Batch


def refuse_loss(folder: Path, model: nn.Module, step: int, batches: list[Batch], loss: float) -> NoReturn:
    """Stop because the loss is not finite; a weight that is not comes first among the culprits."""
    culprit = first(model.named_parameters())
    _refuse(folder, step, batches, culprit or "the loss", f"a loss of {loss}" + (f" and {culprit}" if culprit else ""))


def refuse_gradient(folder: Path, model: nn.Module, step: int, batches: list[Batch], norm: float) -> NoReturn:
    """Stop because the gradient is not finite."""
    gradients = ((name, parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None)
    culprit = first((f"the gradient of {name}", gradient) for name, gradient in gradients)
    culprit = culprit or f"a gradient norm of {norm}"  # every entry is finite, but the sum of their squares is not
    _refuse(folder, step, batches, culprit, culprit)


def first(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """The first tensor with a value that is not finite: its name, how many and what they are."""
    for name, tensor in named:
        bad = tensor[~tensor.isfinite()]
        if bad.numel():
            return f"{name} ({bad.numel()} of {tensor.numel()} values, the first {bad[0].item()})"
    return None


def _refuse(folder: Path, step: int, batches: list[Batch], culprit: str, found: str) -> NoReturn:
    place = folder / f"nonfinite-{step:08d}"
    with whole_folder(place) as new:
        tensors = {f"{name}.{i}": getattr(b, name) for i, b in enumerate(batches) for name in ("ids", "targets")}
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, new / "batch.safetensors")
        facts = {"step": step, "tensor": culprit, "lengths": [batch.lengths for batch in batches]}
        (new / "facts.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    raise Refusal(
        f"losses and gradients must be finite (step {step})",
        found,
        f"lower train.lr, or look for the cause in the batch saved in {place}; the weights were not updated",
    )


def total_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients laid end to end."""
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
