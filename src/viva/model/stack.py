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
from viva.model.spec import Attention
from viva.model.spec import Block as BlockSpec
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
        blocks = spec.of_layers
        self.layers = nn.ModuleList(
            Block(block, width, context, recalls=spec.recall > 0) for block in blocks[:: spec.share]
        )
        self.norm = spec.blocks[-1].norm.build(width) if spec.final_norm else None
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else unchanged
        self.over_batch = any(over_batch(module) for module in self.modules())
        # layers that say the same of positions have one table a pass and, without numbers of their own, one scheme
        places = [_place(block.attention) for block in blocks]
        distinct = list(dict.fromkeys(places))
        made = [attention and attention.position.within(attention, context) for attention in _firsts(blocks, distinct)]
        self.positions = nn.ModuleList(scheme for scheme in made if scheme is not None and scheme.shared)
        self.places = [distinct.index(place) for place in places]
        self.schemes: list[Scheme | None] = [
            scheme if scheme is None or scheme.shared else self.layers[layer // spec.share].attention.position
            for layer, scheme in enumerate(made[place] for place in self.places)
        ]
        self.first = [self.schemes[self.places.index(place)] for place in range(len(distinct))]

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        cache: Cache | None = None,
        memory: Memory | None = None,
        segments: Tensor | None = None,
        recall: Recall | None = None,
        weights: dict[str, Tensor] | None = None,
        states: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """`states` takes those of the layers that are keys of it: 0 what enters the first block, i what leaves block
        i, counted from 1, of the last one what leaves the stack.
        """
        kept = {} if states is None else states
        real = layout.real if self.over_batch else None
        x = self.entry(x, layout, segments, real)
        tables = [scheme and scheme.table(layout) for scheme in self.first]
        pairs = zip(self.schemes, self.places, strict=True)
        placed = tuple(scheme and Placed(scheme, tables[place]) for scheme, place in pairs)
        flow = Flow(layout, placed, cache, memory, recall and recall.segment(), weights, real)
        again = self.recompute and self.training
        if again and self.over_batch:
            raise Refusal("blocks that are recomputed must leave no trace", "batchnorm", "set recompute to false")
        for i in range(len(self.schemes)):
            if i in kept:
                kept[i] = x
            layer = self.layers[i // self.spec.share]
            x = checkpoint(layer, x, flow, i, use_reentrant=False) if again else layer(x, flow, i)
        if self.norm is not None:
            (norm,) = told(real, self.norm)
            x = norm(x)
        x = self.dropout(x)
        if len(self.schemes) in kept:
            kept[len(self.schemes)] = x
        return x


def _place(attention: Attention | None) -> tuple | None:
    """What a scheme depends on; None where tokens do not see each other."""
    if attention is None:
        return None
    scheme = attention.position
    window = attention.window if getattr(scheme, "by_window", False) else None
    return scheme, attention.heads, attention.head_dim, attention.causal, window


def _firsts(blocks: list[BlockSpec], places: list[tuple | None]) -> list[Attention | None]:
    """The first attention of each place."""
    return [next(block.attention for block in blocks if _place(block.attention) == place) for place in places]
