"""Images as tokens (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929, eq. 1): squares of an image, each
projected to a vector, behind one learned vector that stands for the whole.
"""

import torch
from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.spec import Patches as Spec


class Patches(nn.Conv2d):
    """images [B, C, h, w] -> [B, T, E], T = 1 + (h w / size^2), row by row; `weight` [E, C, size, size] projects."""

    def __init__(self, spec: Spec, width: int):
        super().__init__(spec.channels, width, spec.size, stride=spec.size, bias=spec.bias)
        self.spec = spec
        self.token = nn.Parameter(torch.zeros(width))

    def forward(self, images: Tensor) -> Tensor:
        spec = self.spec
        if images.shape[1:] != (spec.channels, spec.image, spec.image):
            must = f"images must be of the shape [B, {spec.channels}, {spec.image}, {spec.image}]"
            raise Refusal(must, list(images.shape), "scale and crop them")
        squares = super().forward(images).flatten(2).mT
        return torch.cat((self.token.expand(len(images), 1, -1), squares), 1)
