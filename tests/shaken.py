"""Models and adapters with other numbers than those they begin with."""

import torch


def shaken(model: torch.nn.Module, by: float = 0.2, seed: int = 0) -> torch.nn.Module:
    """The same, to what is trained of which normal numbers of this deviation are added."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return model
