"""Which block of the cache belongs to whom, as in PagedAttention (Kwon et al. 2023, https://arxiv.org/abs/2309.06180).

A block has room for the keys and values of `size` tokens. Requests whose texts begin alike share the blocks of what is
alike: a full block is found again by a hash of all tokens up to its end. Nothing here knows what lies in a block.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

from viva.base.errors import Refusal

DIGEST = 16  # bytes: two texts of one hash would read each other's keys, so no hash that one could find a double of


class Blocks:
    """`count` blocks, of which number 0 is nobody's: what is written there is never read.

    A block is free, held by one request or several, or idle: held by none, but with contents that may be asked for
    again. Idle ones are given away last, the longest idle first.
    """

    def __init__(self, count: int, size: int):
        if count < 2 or size < 1:
            found = f"{count} blocks of {size}"
            raise Refusal("a cache must have a block of a token beside the first", found, "give it more memory")
        self.count, self.size = count, size
        self._free = deque(range(1, count))
        self._holders = [0] * count
        self._key: dict[int, bytes] = {}  # of blocks whose contents are known
        self._found: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """How many can be taken."""
        return len(self._free) + len(self._idle)

    @property
    def idle(self) -> int:
        """How many are held by none and may be found again."""
        return len(self._idle)

    @property
    def used(self) -> int:
        """How many are held."""
        return self.count - 1 - self.available

    def needed(self, tokens: int) -> int:
        """How many hold so many tokens."""
        return -(-tokens // self.size)

    def take(self, count: int) -> list[int] | None:
        """So many blocks for a new holder; None, and nothing taken, where there are not enough."""
        if count > self.available:
            return None
        taken = [self._free.popleft() if self._free else self._forgotten() for _ in range(count)]
        for block in taken:
            self._holders[block] = 1
        return taken

    def find(self, keys: Sequence[bytes]) -> list[int]:
        """Blocks whose contents are `keys`, from the first on as far as they are here, for one more holder."""
        found = []
        for key in keys:
            if (block := self._found.get(key)) is None:
                break
            self._idle.pop(block, None)
            self._holders[block] += 1
            found.append(block)
        return found

    def share(self, blocks: Sequence[int]) -> None:
        """One holder more of each, which somebody holds already."""
        for block in blocks:
            self._holders[block] += 1

    def name(self, block: int, key: bytes) -> None:
        """Say what a full block holds, so that it is found; where another one holds the same, that is found."""
        if block not in self._key and key not in self._found:
            self._key[block], self._found[key] = key, block

    def release(self, blocks: Sequence[int]) -> None:
        """One holder less of each; of what is idle then, the end of a text is given away before its beginning."""
        for block in reversed(blocks):
            if self._holders[block] < 1:
                raise RuntimeError(f"block {block} was released, and nobody holds it")
            self._holders[block] -= 1
            if not self._holders[block]:
                if block in self._key:
                    self._idle[block] = None
                else:
                    self._free.append(block)

    def alone(self, blocks: Sequence[int]) -> list[int]:
        """Those of them that have one holder."""
        return [block for block in blocks if self._holders[block] == 1]

    def forget(self, blocks: Sequence[int]) -> None:
        """Say of blocks that what they hold must not be found again."""
        for block in blocks:
            if (key := self._key.pop(block, None)) is not None:
                del self._found[key]
            if block in self._idle:
                del self._idle[block]
                self._free.append(block)

    def _forgotten(self) -> int:
        """The block that was idle for longest, without what it held."""
        block, _ = self._idle.popitem(last=False)
        del self._found[self._key.pop(block)]
        return block


def keys(tokens: Sequence[int], size: int, of: str = "", before: bytes = b"", start: int = 0) -> Iterator[bytes]:
    """The key of each full block of a text from block `start` on, `before` that of the block before it.

    `of` names the model that made keys and values: another one's are others.
    """
    last = before or hashlib.blake2b(of.encode(), digest_size=DIGEST).digest()
    for at in range(start * size, len(tokens) // size * size, size):
        numbers = b"".join(token.to_bytes(4, "little") for token in tokens[at : at + size])
        last = hashlib.blake2b(last + numbers, digest_size=DIGEST).digest()
        yield last
