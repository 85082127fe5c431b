"""The number format of matrix products in training; weights, sums and updates stay in fp32."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from viva.base.machine import faster

Name = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """fp32, bf16 by autocast, or fp16 by autocast with a loss scale (Micikevicius et al. 2018, section 3.2).

    `auto` is fp32 or bf16, whichever this device multiplies faster; `why` says so.
    """

    def __init__(self, name: Name, device: str):
        self.why = "as the recipe, or the checkpoint, says"
        if name == "auto":
            chosen, self.why = faster(device)
            name = "bf16" if chosen == "bfloat16" else "fp32"
        self.name, self.device, self.dtype = name, device, DTYPES[name]
        self.scaler = torch.amp.GradScaler(device, enabled=name == "fp16")

    @property
    def matrices(self) -> str:
        """The dtype of matrix products, as torch names it."""
        return str(self.dtype).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager:
        """The context for a forward pass."""
        return nullcontext() if self.name == "fp32" else torch.autocast(self.device, self.dtype)

    def backward(self, loss: Tensor) -> None:
        """Backward, scaled up in fp16 so that small gradients survive."""
        self.scaler.scale(loss).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the gradients their true size."""
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Update, unless fp16 overflowed: then the scale is halved and False returned."""
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before

    @property
    def may_overflow(self) -> bool:
        """Whether a non-finite gradient may be the scale's fault, so that halving it can help."""
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1
