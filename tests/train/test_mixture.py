"""Mixtures: shares of the rows by weight, every document in its turn, and a pure function of the seed and the step."""

import json
from collections import Counter

import numpy as np
import pytest
from tests.train.fakes import Memory

from viva.base.config import parse
from viva.base.errors import Notice, Refusal
from viva.text.cache.pack import Span
from viva.train import start
from viva.train.data import Batching, Data, Share
from viva.train.mixing import Mixture, quotas
from viva.train.reading import Reading
from viva.train.recipe import Recipe

TINY = {"kind": "llama", "width": 16, "layers": 1, "heads": 2, "context": 64}
TALK = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "two"}]


def test_quotas_go_to_the_largest_remainders():
    """Of 10 rows, 6 : 3 : 1.5 have 5.71, 2.86 and 1.43: the first and the second have the two that are left."""
    assert quotas(10, [6, 3, 1.5]) == [6, 3, 1]
    assert quotas(7, [1, 1]) == [4, 3] and quotas(100, [1, 3]) == [25, 75]
    assert quotas(3, [1000, 1]) == [2, 1]  # none is left out altogether


def test_every_document_is_read_before_any_is_read_again():
    parts = [[Span(n, 0, 1) for n in range(0, 10)], [Span(n, 0, 1) for n in range(10, 40)]]
    made = Mixture(parts, [3, 1], lambda spans, seed: [[span] for span in spans], seed=1, by_tokens=False)
    assert made.quotas == [30, 10] and made.times == [3.0, 10 / 30]
    read = Counter()
    for epoch in range(7):
        rows = made.epoch(epoch)
        assert len(rows) == 40
        read.update(span.document for row in rows for span in row)
        assert {read[n] for n in range(10)} == {3 * (epoch + 1)}
        assert {read[n] for n in range(10, 40)} <= {(epoch + 1) // 3, -(-(epoch + 1) // 3)}
    order = [row[0].document for row in made.epoch(0)]
    assert order == [row[0].document for row in made.epoch(0)] != sorted(order)


def _data(shares, lengths=(5,) * 60, **more):
    documents = Memory([np.full(length, number) for number, length in enumerate(lengths)])
    batching = Batching(batch=4, context=16, **more)
    return Data(documents, batching, Reading(0), seed=3, shares=shares)


def test_a_step_of_a_mixture_is_a_function_of_the_seed_and_the_step():
    shares = (Share("a", 20, 1.0), Share("b", 40, 1.0))
    data, later = _data(shares), _data(shares)
    batches = [data.micro_batches(step)[0].ids.tolist() for step in range(30)]
    assert [later.micro_batches(step)[0].ids.tolist() for step in (29, 3, 17)] == [
        batches[step] for step in (29, 3, 17)
    ]
    assert len({str(batch) for batch in batches}) == 30


def _read(data, epochs):
    """The tokens that epochs read of documents below 400, as a share of all."""
    read = Counter()
    for number in range(epochs):
        for span in (span for row in data.epoch(number) for span in row):
            read[span.document < 400] += span.length
    return read[True] / read.total()


@pytest.mark.parametrize(("weight", "rows"), [(1, 86), (3, 138)])
def test_weights_are_shares_of_the_tokens_where_documents_are_packed(weight, rows):
    """Documents of 4 and of 12 tokens, four and one to a row of 16, which the latter do not fill: of 200 rows the
    former have w / 16 : 1 / 12, which is 85.7 of them for w = 1 and 138.5 for w = 3.
    """
    data = _data((Share("short", 400, float(weight)), Share("long", 100, 1.0)), [5] * 400 + [13] * 100)
    assert data.mixture.sizes == [100, 100] and data.mixture.quotas == [rows, 200 - rows]
    assert all(len({span.document < 400 for span in row}) == 1 for row in data.epoch(0))
    assert _read(data, 1) == pytest.approx(weight / (weight + 1), abs=0.003)  # by half a row of 200
    assert data.mixture.shares[0] == _read(data, 1)


def test_shares_are_said_in_tokens_and_in_rows():
    """Of 200 rows, 86 of 16 tokens and 114 of 12: 1,376 tokens and 1,368."""
    shares, lengths = (Share("short", 400, 1.0), Share("long", 100, 1.0)), [5] * 400 + [13] * 100
    assert _data(shares, lengths).mixed() == [
        "part 1 of the mixture, short: 50.1% of the tokens, in 43.0% of the rows; its 400 documents are read 0.86 "
        "times an epoch; those that one leaves out the next ones read",
        "part 2 of the mixture, long: 49.9% of the tokens, in 57.0% of the rows; its 100 documents are read 1.14 times "
        "an epoch",
    ]
    assert _data(shares, lengths, pack=False).mixed()[1] == (
        "part 2 of the mixture, long: 50.0% of the rows; its 100 documents are read 2.50 times an epoch"
    )


def test_shares_are_true_of_rows_that_are_full_to_any_degree():
    """Also over epochs in which a part is read several times, or once in several."""
    draw = np.random.default_rng(0)
    lengths = [*draw.integers(2, 18, 400), *draw.integers(10, 14, 150)]
    for weights in ((1.0, 1.0), (1.0, 5.0), (7.0, 2.0)):
        data = _data((Share("a", 400, weights[0]), Share("b", 150, weights[1])), lengths)
        assert _read(data, 20) == pytest.approx(weights[0] / sum(weights), abs=0.004)


def test_evaluation_reads_each_document_once():
    data = _data((Share("a", 20, 5.0), Share("b", 40, 1.0)))
    read = Counter(batch.ids[row, 0].item() for batch in data.once() for row in range(len(batch.ids)))
    assert sum(sum(len(lengths) for lengths in batch.lengths) for batch in data.once()) == 60
    assert max(read.values()) == 1


def test_a_part_without_a_document_that_fits_is_refused():
    data = _data((Share("a", 2, 1.0), Share("b", 2, 1.0)), lengths=(5, 5, 1, 1))
    with pytest.raises(Refusal, match="part 2 of the mixture must have a document that can be read, but found none"):
        data.epoch(0)
    with pytest.raises(Refusal, match=r"made up by its classes or by the weights of a mixture, but found both"):
        Data(Memory([[1, 2]], labels=[0]), Batching(balanced=True), _Whole(0), shares=(Share("a", 1, 1.0),))


class _Whole(Reading):
    whole, ahead = True, 0


@pytest.fixture
def mixed(tmp_path):
    """A recipe with a mixture of three formats."""

    def write(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"kind": "files", "path": str(tmp_path / name)}

    texts = write("a.jsonl", [{"text": f"some text number {n}"} for n in range(20)] * 2)
    talks = write("b.jsonl", [{"conversations": [TALK[0] | {"value": f"{n}+1?"}, TALK[1]]} for n in range(30)])
    pairs = write("c.jsonl", [{"question": f"is it {n}?", "answer": "yes"} for n in range(10)])
    form = {"kind": "prompt", "prompt": "question", "completion": "answer"}
    parts = [{"data": texts, "weight": 1}, {"data": talks, "weight": 2}, {"data": pairs, "format": form, "weight": 1}]
    return {
        "out": str(tmp_path / "run"),
        "model": TINY,
        "tokenizer": {"vocab_size": 300},
        "data": {"kind": "mixture", "parts": parts},
        "valid": 0.3,
        "train": {"steps": 1, "batch": 2, "context": 64},
    }


def _parts(tree, tmp_path):
    with pytest.warns(Notice):
        return start.parts(parse(Recipe, tree), tmp_path / "run")


def test_a_mixture_has_a_format_and_a_token_cache_for_each_part(mixed, tmp_path):
    parts = _parts(mixed, tmp_path)
    documents = parts.train.documents
    texts = [parts.tokenizer.decode(documents[n][0].tolist()) for n in range(len(documents))]
    of = [len(part) for part in documents.parts]
    assert all("some text number" in text for text in texts[: of[0]])
    assert all("<|im_start|>assistant\ntwo<|im_end|>" in text for text in texts[of[0] : of[0] + of[1]])
    assert all(text.endswith("?yes<|endoftext|>") for text in texts[of[0] + of[1] :])
    counts = documents.counts
    assert counts.rows == 80 and counts.documents + parts.valid.documents.counts.documents == 80
    assert counts.tokens == documents.lengths.sum() == len(np.concatenate([documents[n][0] for n in range(len(texts))]))
    assert documents.tally(300).sum() == counts.tokens
    assert [sentence.split(";")[0].split(": ")[1] for sentence in parts.train.mixed()][1].endswith("% of the rows")
    tokens = Counter()
    for span in (span for row in parts.train.epoch(0) for span in row):
        tokens[_part_of(span.document, of)] += span.length
    assert abs(tokens[1] - (tokens[0] + tokens[2])) <= 2 * 64  # weights 1 : 2 : 1, in rows of at most 64 tokens


def _part_of(document, of):
    return 0 if document < of[0] else 1 if document < of[0] + of[1] else 2


def test_filters_go_through_all_parts(mixed, tmp_path):
    parts = _parts(mixed | {"filter": ["duplicates", {"kind": "length", "min": 3}]}, tmp_path)
    counts = parts.train.documents.counts
    assert (counts.rows, counts.dropped) == (80, 20)
    assert counts.rows == counts.dropped + counts.elsewhere + counts.empty + counts.documents
    assert any("a.jsonl: 20 of 40 rows left out by duplicates" in note for note in parts.train.documents.notes)


BAD = {
    "some weights": (
        lambda parts: [{"data": parts[0]["data"]}, *parts[1:]],
        "must have a `weight` in each of its parts, or in none",
    ),
    "nested": (lambda parts: [{"data": {"kind": "mixture", "parts": parts}}], "must have no mixture among its parts"),
    "none": (lambda parts: [], "data.parts: .*at least 1"),
    "negative": (lambda parts: [parts[0] | {"weight": -1}], "weight: .*greater than 0"),
    "other key": (lambda parts: [parts[0] | {"wieght": 1}], "unknown key 'wieght'; use 'weight'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_mixture_is_refused(mixed, case):
    change, says = BAD[case]
    with pytest.raises(Refusal, match=says):
        parse(Recipe, mixed | {"data": {"kind": "mixture", "parts": change(mixed["data"]["parts"])}})


def test_parts_must_have_the_same_classes(tmp_path):
    for name, label in (("a", "good"), ("b", "fine")):
        lines = [json.dumps({"text": f"{n}", "label": label}) for n in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    parts = [{"data": {"kind": "files", "path": str(tmp_path / f"{name}.jsonl")}} for name in "ab"]
    tree = {
        "out": str(tmp_path / "run"),
        "model": {"kind": "bert", "width": 16, "layers": 1, "heads": 2, "context": 64},
        "data": {"kind": "mixture", "parts": parts},
        "objective": "classify",
        "valid": 0,
        "train": {"steps": 1},
    }
    with pytest.raises(
        Refusal, match=r"the parts of a mixture must have the same classes, but found .*good.* and .*fine"
    ):
        _parts(tree, tmp_path)


def test_without_weights_each_document_is_read_once_an_epoch(mixed, tmp_path):
    parts = [{key: value for key, value in part.items() if key != "weight"} for part in mixed["data"]["parts"]]
    made = _parts(mixed | {"data": {"kind": "mixture", "parts": parts}}, tmp_path)
    assert made.train.mixed() == []
    read = Counter(span.document for row in made.train.epoch(1) for span in row)
    assert read == Counter(range(len(made.train.documents)))
