"""Attention of which no bit depends on company: beside itself alone, and beside softmax(QK/sqrt(D)) V in fp64."""

import math

import pytest
import torch

from viva.model.attend import Weighing, alike
from viva.model.score import cosine, dot

H, G, D = 4, 2, 16


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@pytest.fixture(scope="module")
def rooms() -> tuple[int, ...]:
    return alike.sizes("cpu")


def in_room(x: torch.Tensor, S: int) -> torch.Tensor:
    """x [B, G, n, D] with as many more keys, of another text, as fill the room."""
    return torch.cat((x, drawn(*x.shape[:2], S - x.shape[2], D, seed=9)), 2)


def attended(q, k, v, score, S: int, first: int = 0):
    """Queries q [B, H, T, D], of which the i-th sees `first` + i + 1 of the keys."""
    T = q.shape[2]
    allowed = torch.arange(S) <= first + torch.arange(T)[:, None]
    how = Weighing(score.build(D, H))
    return alike.attend(q, in_room(k, S), in_room(v, S), alike.Sight(allowed.expand(len(q), T, S)), how)


@pytest.mark.parametrize("score", [dot.Config(), dot.Config(cap=2.0), cosine.Config()], ids=["dot", "capped", "cosine"])
def test_a_query_has_its_own_bits(score, rooms):
    """Of a text of 230 tokens: each query alone, in any chunk, in any room, and beside other rows."""
    n = 230
    q, k, v = drawn(1, H, n, D), drawn(1, G, n, D, seed=1), drawn(1, G, n, D, seed=2)
    with torch.inference_mode():
        least = alike.room(n, rooms)
        whole = attended(q, k, v, score, least)
        for start, end in ((0, 1), (5, 6), (229, 230), (0, 7), (200, 213), (120, 230)):
            for S in (least, alike.room(300, rooms), 512, 1024):
                part = attended(q[:, :, start:end], k, v, score, S, first=start)
                assert torch.equal(part, whole[:, :, start:end])
        three = attended(*(torch.cat((drawn(*x.shape, seed=7), x, x)) for x in (q, k, v)), score, least)
        assert torch.equal(three[1:2], whole) and torch.equal(three[2:], whole)


def test_it_is_attention(rooms):
    n = 40
    q, k, v = drawn(1, H, n, D), drawn(1, G, n, D, seed=1), drawn(1, G, n, D, seed=2)
    seen = torch.ones(n, n, dtype=torch.bool).tril()
    scores = q.double() @ k.double().repeat_interleave(2, 1).mT / math.sqrt(D)
    expected = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v.double().repeat_interleave(2, 1)
    with torch.inference_mode():
        found = attended(q, k, v, dot.Config(), alike.room(n, rooms))
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-5)


def test_the_room_is_the_least_that_is_alike():
    assert [alike.room(n, (16, 48, 512)) for n in (1, 16, 17, 49, 512, 513, 1024, 1030)] == [
        *(16, 16, 48, 512, 512, 528, 1024, 1040)
    ]


def test_the_whole_room_is_always_one_of_them(rooms):
    assert rooms[-1] == alike.KEYS and all(size % alike.STEP == 0 for size in rooms)
