"""torch's LSTM, also where torch has no kernel for it: in fp16 on a CPU it computes in fp32."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


class LSTM(nn.LSTM):
    """As nn.LSTM, whose fp16 autocast on a CPU fails; there it is left out, and what comes out is fp32."""

    def forward(self, x: Tensor | PackedSequence, state: tuple[Tensor, Tensor] | None = None):
        if not (torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16):
            return super().forward(x, state)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float(), state and tuple(part.float() for part in state))
