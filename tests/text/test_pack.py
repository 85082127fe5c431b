"""Packing against invariants, a known optimum and the bound of best fit decreasing."""

import math
import time
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viva.base.errors import Refusal
from viva.text.cache.pack import Span, alone, pack, spans

lengths = st.lists(st.integers(0, 60), max_size=60)


@given(lengths, st.integers(1, 20), st.integers(0, 5), st.sampled_from([pack, None]))
def test_every_token_but_the_first_of_each_document_is_predicted_once(lengths, context, seed, packed):
    pieces, report = spans(lengths, context, "split")
    rows = pack(pieces, context, seed) if packed else alone(pieces, seed)
    predicted = Counter((s.document, s.start + 1 + i) for row in rows for s in row for i in range(s.length))
    assert predicted == Counter((d, t) for d, length in enumerate(lengths) for t in range(1, length))
    assert all(sum(s.length for s in row) <= context for row in rows)
    assert report.split == sum(length - 1 > context for length in lengths)
    assert report.short == sum(length < 2 for length in lengths)


@given(lengths, st.integers(1, 20))
def test_dropped_documents_are_counted_and_the_others_whole(lengths, context):
    pieces, report = spans(lengths, context, "drop")
    assert [(s.document, s.start, s.length) for s in pieces] == [
        (d, 0, length - 1) for d, length in enumerate(lengths) if 2 <= length <= context + 1
    ]
    long = [length for length in lengths if length > context + 1]
    assert (report.dropped, report.dropped_tokens, report.split) == (len(long), sum(long), 0)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=80), st.integers(0, 3))
def test_few_rows_are_used(sizes, seed):
    """No fewer than the spans fill or than there are halves, and never two rows that would fit into one."""
    rows = pack([Span(d, 0, size) for d, size in enumerate(sizes)], 20, seed)
    halves = sum(size > 10 for size in sizes)  # no two of these share a row
    assert len(rows) >= max(math.ceil(sum(sizes) / 20), halves)
    room = [20 - sum(s.length for s in row) for row in rows]
    assert sum(r >= 10 for r in room) <= 1  # two rows at most half full would have become one


def test_the_best_fit_is_taken():
    """Worked: context 10. 6 and 5 open rows with rooms 4 and 5; 4 goes into the room of 4, 3 and 2 into that of 5.
    Worst fit would put 4 into the room of 5 and 3 into that of 4, and need a third row for 2."""
    rows = pack([Span(d, 0, size) for d, size in enumerate([6, 3, 4, 2, 5])], 10, seed=0)
    assert sorted(sorted(s.length for s in row) for row in rows) == [[2, 3, 5], [4, 6]]


def test_order_depends_on_the_seed_alone():
    pieces, _ = spans(range(2, 90), 40)
    assert pack(pieces, 40, 1) == pack(pieces, 40, 1) != pack(pieces, 40, 2)
    assert alone(pieces, 1) == alone(pieces, 1) != alone(pieces, 2)
    assert [row[0] for row in alone(pieces, 1)] != pieces


def test_a_long_document_is_refused_on_demand():
    assert spans([9, 3], 8, "refuse")[0] == [Span(0, 0, 8), Span(1, 0, 2)]
    with pytest.raises(Refusal, match="document 1 must have at most 9 tokens to fit into the context, but found 10"):
        spans([9, 10], 8, "refuse")
    with pytest.raises(Refusal, match="a context must be at least one token, but found 0"):
        spans([3], 0)


def test_two_hundred_thousand_documents_pack_in_seconds():
    random = Random(0)
    sizes = [random.randint(1, 500) for _ in range(200_000)]
    began = time.perf_counter()
    rows = pack([Span(d, 0, size) for d, size in enumerate(sizes)], 512, seed=0)
    assert time.perf_counter() - began < 10  # measured: 1
    assert sum(sizes) / (512 * len(rows)) > 0.99


@given(st.lists(st.integers(1, 17), min_size=1, max_size=60), st.integers(0, 3))
def test_room_is_kept_for_what_is_added_to_each_span(sizes, seed):
    """Three tokens more for each of spans of at most 17 fit into rows of 20."""
    rows = pack([Span(i, 0, size) for i, size in enumerate(sizes)], 20, seed, extra=3)
    assert Counter(s.document for row in rows for s in row) == Counter(range(len(sizes)))
    assert all(sum(s.length + 3 for s in row) <= 20 for row in rows)
