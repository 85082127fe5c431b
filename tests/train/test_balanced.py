"""Balanced sampling: each class as often in an epoch, whatever its size; evaluation reads each document once."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from viva.base.errors import Refusal
from viva.train.data import Batching, Data
from viva.train.objective.classify import Classes
from viva.train.objective.tag import Tags
from viva.train.reading import Reading

from .fakes import Memory

LABELS = [0] * 1 + [1] * 10 + [2] * 50  # documents 0; 1 to 10; 11 to 60


def data(labels=LABELS, seed=0, balanced=True, reading=None, **batching):
    documents = [[number, 99] for number in range(len(labels))]
    settings = Batching(**{"batch": 7, "context": 8, "balanced": balanced, **batching})
    return Data(Memory(documents, labels=labels), settings, reading or Classes(0), seed)


def read(epoch):
    return [span.document for [span] in epoch]


def test_an_epoch_reads_each_class_as_often():
    source = data()
    for number in range(5):
        documents = read(source.epoch(number))
        assert len(documents) == source.rows == 61
        counts = Counter(LABELS[document] for document in documents)
        assert sorted(counts.values()) == [20, 20, 21]


def test_within_a_class_documents_are_read_as_often_or_once_more():
    for number in range(5):
        counts = Counter(read(data().epoch(number)))
        assert counts[0] in (20, 21)
        assert {counts[document] for document in range(1, 11)} <= {2, 3}
        assert {counts[document] for document in range(11, 61)} == {0, 1}


def test_in_time_every_document_of_a_large_class_is_read():
    source = data()
    seen = Counter(document for number in range(40) for document in read(source.epoch(number)))
    large = np.array([seen[document] for document in range(11, 61)])
    # each is read in an epoch with probability 20 / 50 or a little more: 16 times of 40, with a deviation of 3.1
    assert large.min() > 3 and large.max() < 30 and 15.5 < large.mean() < 17


def test_a_step_depends_on_seed_and_number_alone():
    source = data()
    straight = [source.micro_batches(step)[0].ids.tolist() for step in range(30)]
    assert data().micro_batches(25)[0].ids.tolist() == straight[25]
    assert read(data(seed=1).epoch(0)) != read(source.epoch(0)) != read(source.epoch(1))


def test_classes_are_mixed_in_their_order():
    """No class is read as a block: of 61 rows in any order about two in three differ from the next in class."""
    kinds = [LABELS[document] for document in read(data().epoch(0))]
    assert 25 < sum(a != b for a, b in pairwise(kinds)) < 55


def test_evaluation_reads_every_document_once():
    batches = list(data().once())
    assert sorted(int(i) for batch in batches for i in batch.ids[0, ::2]) == list(range(61))


class Tagged(Memory):
    """Documents whose tokens have classes."""

    def __init__(self, tags):
        super().__init__([[number] * len(row) for number, row in enumerate(tags)])
        self.tags = lambda document: np.array(tags[document], np.int16)


# of class 0 are 200 tokens, of 1 four and of 2 two: these stand beside one of 1 each
TAGS = [[0, 0, 0, -1, 0]] * 50 + [[1, -1]] * 2 + [[1, 2]] * 2


def of_tags(tags=TAGS, **batching):
    return Data(
        Tagged(tags), Batching(**{"batch": 7, "context": 8, "balanced": True, "pack": False, **batching}), Tags(0)
    )


def test_documents_of_tags_are_of_the_rarest_class_they_hold():
    """The sentences of classes 0, 1 and 2 are 50, 2 and 2: each class is read 18 times."""
    source = of_tags()
    for number in range(5):
        documents = read(source.epoch(number))
        assert len(documents) == source.rows == 54
        counts = Counter(documents)
        assert [sum(counts[n] for n in some) for some in (range(50), (50, 51), (52, 53))] == [18, 18, 18]
        assert {counts[document] for document in range(50, 54)} == {9}
    assert sorted(int(row[0]) for batch in source.once() for row in batch.ids) == [*range(54)]


def test_pieces_of_a_long_document_are_of_its_class():
    """The ten pieces of the one that holds class 1 are read as often as the other five."""
    source = of_tags([[1, *[0] * 19], *[[0, 0]] * 5], context=2, long="split")
    counts = Counter(read(source.epoch(0)))
    assert source.rows == counts.total() == 15 and counts[0] in (7, 8)


def test_documents_of_tags_share_no_row_where_they_are_balanced():
    with pytest.raises(
        Refusal, match=r"rows of one document each, .*found train\.pack=true\. To fix it, set train\.pack"
    ):
        of_tags(pack=True)


def test_what_has_no_classes_is_refused():
    with pytest.raises(Refusal, match="documents must have classes to be balanced, but found none in the token cache"):
        data([float("nan")] * 4).epoch(0)
    with pytest.raises(Refusal, match=r"documents must have classes to be balanced, but found the value 0\.5"):
        data([0.0, 0.5]).epoch(0)
    with pytest.raises(Refusal, match=r"train\.balanced must have documents with a class each.*classify, or tag"):
        data(reading=Reading(0))
