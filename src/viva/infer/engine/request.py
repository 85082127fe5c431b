"""What one request asked for, and how far it has come. No torch."""

from dataclasses import dataclass, field

from viva.infer.engine.blocks import Blocks, keys


@dataclass(eq=False)
class Request:
    """A prompt that is being continued.

    `number`: in the order of arrival. `limit`: how many tokens it may get. `model`: the name of the adapter that
    continues it, "" without one. `leader`: another request that reads the same prompt first. `tokens`: those made;
    `computed`: how many of prompt and tokens lie in the cache, in the blocks of `table`. `draft`: guesses of the next
    tokens, not made yet. `ended`: it gets no more. `width`: how many rows of a step are its own: the beams of a search
    are requests of one number.
    """

    number: int
    prompt: list[int]
    limit: int
    model: str = ""
    leader: "Request | None" = None
    tokens: list[int] = field(default_factory=list)
    table: list[int] = field(default_factory=list)
    computed: int = 0
    draft: list[int] = field(default_factory=list)
    ended: bool = False
    width: int = 1
    _keys: list[bytes] = field(default_factory=list, repr=False)

    @property
    def known(self) -> int:
        """How many tokens there are to read, made ones included."""
        return len(self.prompt) + len(self.tokens)

    def text(self, start: int, end: int) -> list[int]:
        """Tokens `start` to `end` of prompt, reply and draft."""
        ahead = len(self.prompt)
        if start >= ahead:
            made = self.tokens if end <= self.known else self.tokens + self.draft
            return made[start - ahead : end - ahead]
        return (self.prompt + self.tokens + self.draft)[start:end] if end > ahead else self.prompt[start:end]

    def keys(self, size: int, blocks: int) -> list[bytes]:
        """Those of its first so many full blocks."""
        if len(self._keys) < blocks:
            start, last = len(self._keys), self._keys[-1] if self._keys else b""
            text = self.text(0, blocks * size)
            self._keys.extend(keys(text, size, self.model, last, start))
        return self._keys[:blocks]

    def resume(self, blocks: Blocks) -> None:
        """Take what is here already of the text, but for the last token, which must be read to go on from it."""
        self.table = blocks.find(self.keys(blocks.size, (self.known - 1) // blocks.size))
        self.computed = len(self.table) * blocks.size

    def computed_to(self, count: int, blocks: Blocks) -> None:
        """Say that `count` tokens lie in the cache; the blocks that are full can be found from now on."""
        full = count // blocks.size
        for block, key in zip(self.table[:full], self.keys(blocks.size, full), strict=True):
            blocks.name(block, key)
        self.computed = count

    def release(self, blocks: Blocks) -> None:
        """Give all blocks back; what it had read it must find, or read, again."""
        blocks.release(self.table)
        self.table, self.computed, self.draft = [], 0, []
