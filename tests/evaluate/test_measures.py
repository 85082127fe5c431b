"""Exact match by hand-made replies; bits a byte of text whose compressed size is known."""

import gzip
import lzma

import pytest

from viva.evaluate import compressor, exact_match
from viva.text.rows.tasks import Task


def tasks() -> list[Task]:
    rows = [("add", "1 + 1", "2"), ("add", "2 + 2", "4"), ("order", "sorted([2, 1])", "[1, 2]")]
    return [Task(family=family, expression=e, answer=a, question=f"`{e}`?") for family, e, a in rows]


def test_only_the_very_answer_counts(monkeypatch):
    """'2' is right, '4.0' and '[2, 1]' are not: one of three, half of the sums, none of the lists."""
    monkeypatch.setattr(exact_match, "replies", lambda *given: ["2", "4.0", "[2, 1]"])
    score = exact_match.exact_match(None, None, tasks(), exact_match.as_chat)
    assert score.share == pytest.approx(1 / 3)
    assert (score.of("add"), score.of("order")) == (0.5, 0.0)
    assert score.asked == {"add": 2, "order": 1} and score.right == (True, False, False)
    assert score.interval == pytest.approx((0.0615, 0.7923), abs=1e-4)  # Wilson's of 1 of 3


def test_bits_a_byte_are_the_compressed_size():
    """Two documents, each on its own: eight bits for every compressed byte, over the UTF-8 bytes of both."""
    texts = ["abc" * 500, "语言模型" * 100]
    size = 1500 + 1200
    sizes = [[len(f(text.encode())) for text in texts] for f in (
        lambda data: gzip.compress(data, 9, mtime=0), lambda data: lzma.compress(data, preset=9))]  # fmt: skip
    found = compressor.bits_per_byte(texts)
    assert found == pytest.approx({"gzip -9": 8 * sum(sizes[0]) / size, "xz -9": 8 * sum(sizes[1]) / size})
