"""Blocks one upon another."""

from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from viva.model.block import Block
from viva.model.cache import Cache
from viva.model.flow import Flow
from viva.model.layout import Layout
from viva.model.spec import Stack as Spec


class Stack(nn.Module):
    """x [B, T, E] -> [B, T, E]. With `recompute` set, training keeps only each block's input (Chen et al. 2016)."""

    recompute = False

    def __init__(self, spec: Spec, width: int, context: int):
        super().__init__()
        blocks = [spec.block(layer) for layer in range(spec.layers)]
        self.layers = nn.ModuleList(Block(block, width) for block in blocks)
        self.norm = spec.blocks[-1].norm.build(width) if spec.final_norm else nn.Identity()
        # layers that say the same of positions share one module, and so one table a pass
        built = {a.position: a.position.build(a.head_dim, context) for a in (block.attention for block in blocks)}
        self.turners = [built[block.attention.position] for block in blocks]

    def forward(self, x: Tensor, layout: Layout, cache: Cache | None = None) -> Tensor:
        tables = {turner: turner.table(layout) for turner in set(self.turners) - {None}}
        turns = tuple(turner and partial(turner, table=tables[turner]) for turner in self.turners)
        flow = Flow(layout, cache, turns)
        for i, layer in enumerate(self.layers):
            if self.recompute and self.training:
                x = checkpoint(layer, x, flow, i, use_reentrant=False)
            else:
                x = layer(x, flow, i)
        return self.norm(x)
