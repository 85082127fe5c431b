"""Blocks of the cache: random work on them beside a model of it, their order by hand, and the keys of texts."""

import hashlib

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from viva.base.errors import Refusal
from viva.infer.engine.blocks import Blocks, keys

COUNT = 9


class Accounting(RuleBasedStateMachine):
    """Beside `Blocks` a plain account: who holds what, and what each name was given to."""

    def __init__(self):
        super().__init__()
        self.blocks = Blocks(COUNT, 4)
        self.held: list[list[int]] = []  # by each holder
        self.named: dict[bytes, int] = {}
        self.idle: list[int] = []  # longest first

    def holders(self, block: int) -> int:
        return sum(held.count(block) for held in self.held)

    @rule(count=st.integers(0, COUNT))
    def take(self, count):
        free = [b for b in range(1, COUNT) if not self.holders(b)]
        taken = self.blocks.take(count)
        if count > len(free):
            assert taken is None
            return
        assert len(taken) == len(set(taken)) == count and set(taken) <= set(free)
        empty = [b for b in free if b not in self.idle]
        # what may be found again goes last, the longest idle first
        assert set(taken) - set(empty) == set(self.idle[: max(0, count - len(empty))])
        for block in set(taken) & set(self.idle):
            self.idle.remove(block)
            self.named = {key: at for key, at in self.named.items() if at != block}
        self.held.append(taken)

    @precondition(lambda self: any(self.held))
    @rule(data=st.data(), key=st.integers(0, 12))
    def name(self, data, key):
        block = data.draw(st.sampled_from(sorted({b for held in self.held for b in held})))
        key = bytes([key])
        self.blocks.name(block, key)
        if key not in self.named and block not in self.named.values():
            self.named[key] = block

    @rule(wanted=st.lists(st.integers(0, 12), max_size=5, unique=True))
    def find(self, wanted):
        wanted = [bytes([key]) for key in wanted]
        known = next((i for i, key in enumerate(wanted) if key not in self.named), len(wanted))
        found = self.blocks.find(wanted)
        assert found == [self.named[key] for key in wanted[:known]]
        self.idle = [block for block in self.idle if block not in found]
        self.held.append(found)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        gone = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.blocks.release(gone)
        named = self.named.values()
        self.idle += [block for block in reversed(gone) if not self.holders(block) and block in named]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def share(self, data):
        self.held.append(list(data.draw(st.sampled_from(self.held))))
        self.blocks.share(self.held[-1])

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def forget(self, data):
        own = data.draw(st.sampled_from(self.held))
        assert self.blocks.alone(own) == [block for block in own if self.holders(block) == 1]
        self.blocks.forget(own)
        self.named = {key: block for key, block in self.named.items() if block not in own}

    @invariant()
    def nothing_is_lost(self):
        used = {block for held in self.held for block in held}
        assert 0 not in used
        assert self.blocks.used == len(used)
        assert self.blocks.available == COUNT - 1 - len(used)
        assert self.blocks.idle == len(self.idle)

    def teardown(self):
        for held in self.held:
            self.blocks.release(held)
        assert self.blocks.used == 0 and sorted(self.blocks.take(COUNT - 1)) == list(range(1, COUNT))


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_block_that_nobody_holds_cannot_be_released():
    blocks = Blocks(4, 2)
    taken = blocks.take(1)
    blocks.release(taken)
    with pytest.raises(RuntimeError, match="block 1 was released, and nobody holds it"):
        blocks.release(taken)


def test_the_end_of_a_text_is_given_away_before_its_beginning():
    blocks = Blocks(4, 2)
    text = blocks.take(3)
    for block, key in zip(text, keys(range(6), 2), strict=True):
        blocks.name(block, key)
    blocks.release(text)
    blocks.take(1)
    assert blocks.find(list(keys(range(6), 2))) == text[:2]


def test_a_cache_has_room_for_a_token():
    with pytest.raises(Refusal, match="a block of a token beside the first, but found 1 blocks of 16"):
        Blocks(1, 16)


def test_keys_are_hashes_of_all_up_to_a_full_block():
    """Written out: BLAKE2b of 16 bytes over the key before and the tokens, four bytes each, the lowest first."""
    digest = lambda data: hashlib.blake2b(data, digest_size=16).digest()  # noqa: E731
    first = digest(digest(b"name") + bytes([1, 0, 0, 0, 44, 1, 0, 0]))
    second = digest(first + bytes([7, 0, 0, 0, 0, 0, 1, 0]))
    text = [1, 300, 7, 65536, 9]  # the last fills no block
    assert list(keys(text, 2, "name")) == [first, second]
    assert list(keys(text, 2, "name", before=first, start=1)) == [second]
    assert not set(keys(text, 2)) & set(keys(text, 2, "name"))
    assert not set(keys([300, 1, 7, 65536], 2)) & set(keys(text, 2))
