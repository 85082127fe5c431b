"""Keys and values of many requests in the blocks of one pool, and attention over them (Kwon et al. 2023)."""

import numpy as np
import torch
from torch import Tensor

from viva.infer.engine.blocks import Blocks
from viva.infer.engine.schedule import Work
from viva.model.attend import Weighing, alike
from viva.model.layout import Layout
from viva.model.mask import Mask
from viva.model.position import Placed
from viva.model.spec import Spec


class Pool:
    """For each layer the keys and the values [slots, G, D] of all blocks; slot s of block b is number b size + s."""

    def __init__(self, spec: Spec, blocks: Blocks, dtype: torch.dtype, device: torch.device | str):
        self.size, self.device = blocks.size, torch.device(device)
        self.sizes = alike.sizes(self.device.type)
        heads = [block.attention for block in spec.decoder.of_layers]
        shapes = [(blocks.count * blocks.size, a.kv_heads, a.head_dim) for a in heads]
        # zeros: a slot that nothing was written to is hidden by weight 0, and 0 x NaN is NaN
        self.keys, self.values = ([torch.zeros(s, dtype=dtype, device=device) for s in shapes] for _ in range(2))

    def slots(self, table: list[int], start: int, end: int) -> np.ndarray:
        """The numbers of the slots of tokens `start` to `end`, those beyond the table of block 0."""
        blocks = np.zeros(-(-end // self.size), np.int64)
        held = table[: len(blocks)]
        blocks[: len(held)] = held
        return (blocks[:, None] * self.size + np.arange(self.size)).ravel()[start:end]

    def copy(self, source: list[int], target: list[int]) -> None:
        """What lies in some blocks into as many others."""
        count = len(source) * self.size
        at, to = (torch.from_numpy(self.slots(blocks, 0, count)).to(self.device) for blocks in (source, target))
        for kept in (*self.keys, *self.values):
            kept[to] = kept[at]

    def clear(self, blocks: list[int]) -> None:
        """Zeros into these blocks, whatever stands there."""
        at = torch.from_numpy(self.slots(blocks, 0, len(blocks) * self.size)).to(self.device)
        for kept in (*self.keys, *self.values):
            kept[at] = 0


class Group:
    """Requests of which equally many tokens are read, in equal room for keys: B rows of T queries and S keys.

    `at` [B T]: where the queries stand among all that is read. `places` [B, T]: each one's place in its text. `slots`
    [B S]: those of the keys.
    """

    def __init__(self, at: Tensor | slice, places: Tensor, slots: Tensor):
        self.at, self.places, self.slots = at, places, slots
        self.B, self.T = places.shape
        self.S = len(slots) // self.B
        self._sights: dict[Mask, alike.Sight] = {}
        self._tables: dict[int, object] = {}

    def sight(self, mask: Mask) -> alike.Sight:
        """What each query may see, the same in every layer with this mask."""
        if mask not in self._sights:
            keys = torch.arange(self.S, device=self.places.device)
            self._sights[mask] = alike.Sight(mask.allows(self.places, keys))
        return self._sights[mask]

    def placed(self, placed: Placed | None) -> Placed | None:
        """The scheme of positions with its table for these rows."""
        if placed is None or not placed.scheme.biased:
            return None
        scheme = placed.scheme
        if id(scheme) not in self._tables:
            # positions are told of as many queries as attention fills up to, and of all room for keys
            queries = torch.arange(alike.rows(self.T, self.places.device), device=self.places.device)
            places = self.places[:, :1] + queries
            self._tables[id(scheme)] = scheme.table(Layout(places, places, self.S, aligned=False))
        return Placed(scheme, self._tables[id(scheme)])


class Reading:
    """A pass over new tokens [1, N] of several requests, laid end to end: what `model.hidden` takes as its cache."""

    ragged = True
    rows, held = None, 0

    def __init__(self, pool: Pool, layout: Layout, written: Tensor, groups: list[Group]):
        self.pool, self.layout, self.written, self.groups = pool, layout, written, groups
        self.across = {}

    @staticmethod
    def of(pool: Pool, work: list[Work]) -> "Reading":
        """What there is to read of each request, behind what is in its blocks."""
        spans = [(each.request.computed, each.request.computed + each.tokens) for each in work]
        written = [pool.slots(each.request.table, *span) for each, span in zip(work, spans, strict=True)]
        lengths = tuple(each.tokens for each in work)
        layout = Layout.continued(lengths, tuple(start for start, _ in spans), pool.device)
        starts = np.cumsum((0, *lengths[:-1]))
        shapes: dict[tuple[int, int], list[int]] = {}
        for i, (start, end) in enumerate(spans):
            shapes.setdefault((end - start, alike.room(end, pool.sizes)), []).append(i)
        groups = []
        for (T, S), rows in shapes.items():
            at = starts[rows][:, None] + np.arange(T)
            places = np.array([spans[i][0] for i in rows])[:, None] + np.arange(T)
            slots = np.concatenate([pool.slots(work[i].request.table, 0, S) for i in rows])
            groups.append(Group(*(torch.from_numpy(x).to(pool.device) for x in (at.ravel(), places, slots))))
        return Reading(pool, layout, torch.from_numpy(np.concatenate(written)).to(pool.device), groups)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Mask, how: Weighing) -> Tensor:
        """q [1, H, N, D], k and v [1, G, N, D] of the new tokens -> [1, H, N, D], each over its own request's."""
        keys, values = self.pool.keys[layer], self.pool.values[layer]
        for kept, new in ((keys, k), (values, v)):
            kept.index_copy_(0, self.written, new[0].transpose(0, 1))
        q = q[0].transpose(0, 1)  # [N, H, D]
        out = torch.empty_like(q)
        for group in self.groups:
            rows = q[group.at].unflatten(0, (group.B, group.T)).transpose(1, 2)
            seen = (kept[group.slots].unflatten(0, (group.B, group.S)).transpose(1, 2) for kept in (keys, values))
            told = how._replace(placed=group.placed(how.placed))
            out[group.at] = alike.attend(rows, *seen, group.sight(mask), told).transpose(1, 2).flatten(0, 1)
        return out.transpose(0, 1)[None]

    def advance(self, T: int) -> None:
        """Requests count what they hold themselves."""
