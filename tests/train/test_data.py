"""Batches are a pure function of (seed, step), and every token but the first of a document is predicted once."""

from collections import Counter

import pytest
import torch

from viva.base.errors import Refusal
from viva.train.data import Batching, Data
from viva.train.loss import IGNORE
from viva.train.reading import Reading

from .fakes import Memory, counting

PAD = 16


def data(documents=None, seed=0, learned=lambda d, i: True, **batching):
    settings = Batching(**{"batch": 2, "context": 8, **batching})
    return Data(Memory(documents or counting(), learned), settings, Reading(PAD), seed)


def pairs(batches):
    """How often each (input, target) occurs, where something is learned."""
    found = Counter()
    for batch in batches:
        kept = batch.targets != IGNORE
        found.update(zip(batch.ids[kept].tolist(), batch.targets[kept].tolist(), strict=True))
    return found


def test_a_row_by_hand():
    """One document 1 2 3 4 whose third token is not learned, and 5 6: inputs 1 2 3 | 5, targets 2 - 4 | 6."""
    [batch] = data([[1, 2, 3, 4], [5, 6]], learned=lambda d, i: (d, i) != (0, 2), batch=1).once()
    assert batch.ids.tolist() == [[1, 2, 3, 5]]
    assert batch.targets.tolist() == [[2, IGNORE, 4, 6]]
    assert batch.lengths == ((3, 1),) and batch.count == 3 and batch.tokens == 4
    assert batch.layout.positions.tolist() == [[0, 1, 2, 0]]


def test_padding_is_on_the_right_and_not_learned():
    [batch] = data([[1, 2, 3, 4], [5, 6]], pack=False, seed=1).once()
    padded = batch.ids[[sum(row) for row in batch.lengths].index(1)]
    assert padded.tolist() == [5, PAD, PAD]
    assert sorted(batch.targets.flatten().tolist()) == [IGNORE, IGNORE, 2, 3, 4, 6]


@pytest.mark.parametrize("packed", [True, False])
def test_every_token_is_predicted_once_an_epoch(packed):
    documents = counting(40)
    expected = Counter()
    for ids in documents:
        expected.update(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    assert pairs(data(documents, pack=packed).once()) == expected


def test_steps_go_through_every_epoch_in_full():
    found = data(counting(40), batch=5)
    steps = found.rows  # five epochs, five rows a step; epochs do not end where steps do
    assert found.rows % 5
    epoch = pairs(found.once())
    assert pairs(batch for step in range(steps) for batch in found.micro_batches(step)) == Counter(
        {pair: 5 * count for pair, count in epoch.items()}
    )


def test_a_step_depends_on_seed_and_number_alone():
    straight, other = data(counting(30)), data(counting(30), seed=1)
    in_order = [straight.micro_batches(step)[0] for step in range(40)]
    jumped = data(counting(30)).micro_batches(33)[0]
    assert torch.equal(jumped.ids, in_order[33].ids) and jumped.lengths == in_order[33].lengths
    assert any(not torch.equal(other.micro_batches(step)[0].ids, in_order[step].ids) for step in range(5))
    assert straight.epoch(0) != straight.epoch(1)


def test_accumulation_reads_the_same_rows():
    whole, parts = data(batch=4), data(batch=1, accumulate=4)
    for step in range(6):
        [batch] = whole.micro_batches(step)
        rows = [row for part in parts.micro_batches(step) for row in part.lengths]
        assert tuple(rows) == batch.lengths and batch.count == sum(p.count for p in parts.micro_batches(step))


def test_what_is_passed_over_is_said():
    found = data([list(range(12)), [1, 2, 3], [4]], batch=8)
    assert found.repeats() == ["an update reads 8 rows, but the data has 2: documents repeat in it"]
    assert found.passed_over() == [
        "1 documents are longer than the context of 8 tokens and are cut into pieces",
        "1 documents have fewer than two tokens and teach nothing",
    ]


def test_data_without_a_single_pair_is_refused():
    says = r"the data must hold a document of 2 to 9 tokens, but found 2 shorter and 0 longer ones\. .* change `valid`"
    with pytest.raises(Refusal, match=says):
        data([[1], [2]])
    with pytest.raises(Refusal, match=r"found 1 shorter and 1 longer ones\. To fix it, raise train\.context"):
        data([[1], list(range(20))], long="drop")
