"""How large a model is: what its parameters and its packed weights count and take."""

from torch import Tensor, nn

from viva.model.linear.nf4 import weights


def numbers(model: nn.Module) -> tuple[int, int]:
    """(all, those that are trained)."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes) + weights(model), sum(size for size, learns in sizes if learns)


def held(model: nn.Module) -> list[Tensor]:
    """All that it keeps in memory: its parameters, what stands for packed ones, and its tables."""
    return [*model.parameters(), *model.buffers()]
