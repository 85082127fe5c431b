"""Blocks one upon another."""

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from viva.base.errors import Refusal
from viva.model.activation import unchanged
from viva.model.block import Block
from viva.model.cache import Cache
from viva.model.entry import Entry
from viva.model.flow import Flow, Memory
from viva.model.layout import Layout
from viva.model.norm import over_batch, told
from viva.model.position import Placed, Scheme
from viva.model.recall import Recall
from viva.model.spec import Stack as Spec


class Stack(nn.Module):
    """Tokens' vectors [B, T, E] -> states [B, T, E]. With `recompute` set, training keeps only each block's input (Chen
    et al. 2016).
    """

    recompute = False

    def __init__(self, spec: Spec, width: int, context: int):
        super().__init__()
        self.spec = spec
        self.entry = Entry(spec.entry, width, context)
        blocks = [spec.block(layer) for layer in range(spec.layers)]
        self.layers = nn.ModuleList(
            Block(block, width, context, recalls=spec.recall > 0) for block in blocks[:: spec.share]
        )
        self.norm = spec.blocks[-1].norm.build(width) if spec.final_norm else None
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else unchanged
        self.over_batch = any(over_batch(module) for module in self.modules())
        # layers that say the same of positions share one scheme, and so one table a pass
        distinct = dict.fromkeys(block.attention for block in blocks)
        schemes = {attention: attention.position.within(attention, context) for attention in distinct}
        by_place = {_place(attention): scheme for attention, scheme in schemes.items() if scheme and scheme.shared}
        self.positions = nn.ModuleList(by_place.values())
        self.schemes: list[Scheme | None] = [
            by_place.get(_place(block.attention), self.layers[layer // spec.share].attention.position)
            for layer, block in enumerate(blocks)
        ]
        self.distinct = tuple(dict.fromkeys(scheme for scheme in self.schemes if scheme is not None))

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        cache: Cache | None = None,
        memory: Memory | None = None,
        segments: Tensor | None = None,
        recall: Recall | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        real = layout.real if self.over_batch else None
        x = self.entry(x, layout, segments, real)
        tables = {scheme: scheme.table(layout) for scheme in self.distinct}
        placed = tuple(scheme and Placed(scheme, tables[scheme]) for scheme in self.schemes)
        flow = Flow(layout, placed, cache, memory, recall and recall.segment(), weights, real)
        again = self.recompute and self.training
        if again and self.over_batch:
            raise Refusal("blocks that are recomputed must leave no trace", "batchnorm", "set recompute to false")
        for i in range(len(self.schemes)):
            layer = self.layers[i // self.spec.share]
            x = checkpoint(layer, x, flow, i, use_reentrant=False) if again else layer(x, flow, i)
        if self.norm is not None:
            (norm,) = told(real, self.norm)
            x = norm(x)
        return self.dropout(x)


def _place(attention):
    """What a shared scheme depends on."""
    return attention.position, attention.heads, attention.head_dim, attention.causal
