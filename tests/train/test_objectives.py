"""Objectives of two texts, classes, tags and couples: batches by hand, losses against torch's, and what they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.model.arch import bart, bert, llama, original, roberta
from viva.model.head import classify as class_head
from viva.model.head import embed, regress
from viva.model.head import similar as similar_head
from viva.model.head import span as span_head
from viva.model.head import tag as tag_head
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.text.cache.pack import numbered
from viva.text.rows.format import classes, tags
from viva.train.data import Batching, Data
from viva.train.loss import IGNORE
from viva.train.loss.class_loss import balanced, class_cross_entropy
from viva.train.objective import Ground, causal, classify, pairs, seq2seq, similar, span, tag
from viva.train.objective.classify import Classes
from viva.train.objective.pairs import Couples
from viva.train.objective.seq2seq import Pairs
from viva.train.objective.similar import Alike
from viva.train.objective.span import Answers
from viva.train.objective.tag import Tags

from .fakes import Memory

PAD = 63


class Marked(Memory):
    """Documents in memory with cuts, labels and tags."""

    def __init__(self, documents, cuts=None, labels=None, tags=None, learned=True):
        super().__init__(documents, lambda document, place: learned)
        self.cuts = np.array(cuts or [0] * len(documents))
        self.labels = np.array([np.nan] * len(documents) if labels is None else labels, np.float64)
        self._tags = tags

    def tags(self, document):
        return np.array(self._tags[document], np.int16)

    def tally_classes(self, size):
        if self._tags is None:
            return super().tally_classes(size)
        found = np.concatenate([*map(self.tags, range(len(self)))])
        return np.bincount(found[found >= 0], minlength=size)


def only(documents, reading, batch=8) -> object:
    """The one batch of these documents, in their order."""
    data = Data(documents, Batching(batch=batch, context=32), reading)
    data.epoch = lambda number: [[span] for span in data.spans]
    [found] = data.once()
    return found


def model(family, **changes) -> Transformer:
    return initialise(Transformer(family.TINY.model_copy(update=changes).spec()), seed=1).eval()


def learned(made: Transformer, objective, batch, steps=60, lr=5e-3) -> tuple[float, float]:
    """The mean loss before and after some steps on one batch; every parameter must have moved."""
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    optimizer = torch.optim.Adam(made.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = objective(made, batch)
        optimizer.zero_grad()
        (loss.sum / loss.count).backward()
        optimizer.step()
        losses.append(loss.sum.item() / loss.count)
    still = [name for name, p in made.named_parameters() if torch.equal(p, before[name])]
    assert not still, still
    return losses[0], losses[-1]


def test_a_batch_of_pairs_by_hand():
    """Sources 1 2 0 and 3 0, targets 9 4 0 and 9 5 6 0: the decoder reads all but the last, and predicts all but 9."""
    found = only(Marked([[1, 2, 0, 9, 4, 0], [3, 0, 9, 5, 6, 0]], cuts=[3, 2]), Pairs(PAD))
    assert found.source.ids.tolist() == [[1, 2, 0, 3, 0]] and found.source.lengths == ((3, 2),)
    assert found.ids.tolist() == [[9, 4, 9, 5, 6]] and found.lengths == ((2, 3),)
    assert found.targets.tolist() == [[4, 0, 5, 6, 0]]
    assert (found.count, found.tokens) == (5, 10)


def test_the_loss_of_pairs_is_that_of_each_alone():
    """Whatever lies beside it in the row, against torch's cross-entropy of the logits."""
    documents = [[1, 2, 0, 9, 4, 0], [3, 0, 9, 5, 6, 0], [7, 7, 7, 0, 9, 8, 0]]
    made, cuts = model(bart), [3, 2, 4]
    found = seq2seq.Config(smoothing=0.1).build()(made.train(), only(Marked(documents, cuts=cuts), Pairs(PAD)))
    total = 0.0
    for ids, cut in zip(documents, cuts, strict=True):
        ids = torch.tensor([ids])
        logits = made(ids[:, cut:-1], memory=made.encode(ids[:, :cut]))[0]
        total += cross_entropy(logits, ids[0, cut + 1 :], reduction="sum", label_smoothing=0.1)
    torch.testing.assert_close(found.sum, total)
    assert found.count == 7


def test_scheduled_sampling_reads_the_models_own_guesses():
    """Always, but for the first token of each document, which has none before it."""
    ids, guesses = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[11, 12, 13, 14, 15]])
    positions = torch.tensor([[0, 1, 2, 0, 1]])
    mixed = seq2seq.mixed(ids, guesses, positions, share=1.0)
    assert mixed.tolist() == [[1, 11, 12, 4, 14]]
    torch.manual_seed(0)
    share = (seq2seq.mixed(*(x.repeat(1, 2000) for x in (ids, guesses, positions)), share=0.3) > 10).float().mean()
    assert 0.6 * 0.27 < share < 0.6 * 0.33


def test_the_share_that_is_sampled_grows_in_a_line(monkeypatch):
    """Of 0.8 at the end none in the first batch, half of it half way."""
    shares, given = [], only(Marked([[1, 2, 0, 9, 4, 0]], cuts=[3]), Pairs(PAD))
    monkeypatch.setattr(seq2seq, "mixed", lambda ids, guesses, positions, share: shares.append(share) or ids)
    for done in (0.0, 0.25, 0.5, 1.0):
        seq2seq.Config(sampled=0.8).build()(model(bart).train(), replace(given, done=done))
    assert shares == pytest.approx([0, 0.2, 0.4, 0.8])


def test_a_translation_is_read_by_its_own_tokens_and_unsmoothed_in_evaluation():
    """However much of it the model guesses in training, and however far that is."""
    documents = [[1, 2, 0, 9, 4, 8, 7, 0], [3, 0, 9, 5, 6, 0]]
    made, batch = model(bart), only(Marked(documents, cuts=[3, 2]), Pairs(PAD))
    with torch.no_grad():
        made.embedding.weight.mul_(30)  # so that what is read decides what is predicted
    total = 0.0
    for ids, cut in zip(map(torch.tensor, documents), (3, 2), strict=True):
        logits = made(ids[None, cut:-1], memory=made.encode(ids[None, :cut]))[0]
        total += cross_entropy(logits, ids[cut + 1 :], reduction="sum")
    objective = seq2seq.Config(smoothing=0.1, sampled=0.9).build()
    torch.testing.assert_close(objective(made, batch).sum, total)
    assert abs(objective(made.train(), batch).sum - total) > 0.1


def test_a_copy_is_learned():
    documents = [[a, b, 0, 9, a, b, 0] for a in range(1, 7) for b in range(1, 7)]
    batch = only(Marked(documents, cuts=[3] * 36), Pairs(PAD), batch=36)
    first, last = learned(model(bart), seq2seq.Config().build(), batch, steps=150)
    assert first > 3 and last < 0.1  # below ln 6 / 3, what is left without reading the source twice over


def test_a_batch_of_classes_by_hand():
    found = only(Marked([[1, 2, 0], [3, 0, 4, 4, 0]], cuts=[0, 2], labels=[2, 0]), Classes(PAD))
    assert found.ids.tolist() == [[1, 2, 0, 3, 0, 4, 4, 0]] and found.lengths == ((3, 5),)
    assert found.targets.tolist() == [2, 0] and found.segments.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]
    assert found.count == 2


@pytest.mark.parametrize("family", [bert, llama])
def test_classes_are_learned_from_each_document_alone(family):
    head = class_head.Config(labels=3, dense="tanh" if family is bert else None)
    documents = [[1, 2, n % 3 + 10, n % 7 + 20, 0] for n in range(21)]
    batch = only(Marked(documents, labels=[n % 3 for n in range(21)]), Classes(PAD), batch=21)
    made, objective = model(family, head=head), classify.Config().build()
    alone = [made(torch.tensor([ids]))[0] for ids in documents]
    expected = cross_entropy(torch.stack(alone), batch.targets.long(), reduction="sum")
    torch.testing.assert_close(objective(made, batch).sum, expected)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        objective(made, batch).sum.backward()
        optimizer.step()
    found = objective(made, batch)
    assert found.metrics["accuracy"] == 21 and found.sum / 21 < 0.1


def test_values_are_learned():
    batch = only(Marked([[1, n + 2, 0] for n in range(10)], labels=[n / 4 + 0.1 for n in range(10)]), Classes(PAD), 10)
    assert batch.targets.dtype == torch.float32
    made, objective = model(bert, head=regress.Config(dense="tanh")), classify.Config().build()
    expected = (made(batch.ids, batch.layout) - batch.targets).square().sum()
    torch.testing.assert_close(objective(made, batch).sum, expected)


def test_the_focal_loss_and_weights_by_hand():
    """p = 1/2 for both classes: -w (1 - p)^gamma log p = 3 * 0.25 * ln 2 and 1 * 0.25 * ln 2."""
    scores, targets = torch.zeros(3, 2), torch.tensor([0, 1, IGNORE])
    found = class_cross_entropy(scores, targets, torch.tensor([3.0, 1.0]), gamma=2.0)
    torch.testing.assert_close(found, torch.tensor(0.25 * 4 * np.log(2), dtype=torch.float32))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
def test_the_focal_loss_of_what_is_certain_has_a_gradient(gamma, smoothing):
    """In fp32 p is 1 where a score is 20 ahead; in fp64 it is not, and the gradient is what the formula says."""

    def gradient(dtype):
        scores = torch.tensor([[20.0, -10, 0], [0.5, 1, 2]], dtype=dtype, requires_grad=True)
        logs = scores.log_softmax(-1)
        right = logs[[0, 1], [0, 2]]
        aim = (1 - smoothing) * right + smoothing * logs.mean(1)
        told = class_cross_entropy(scores, torch.tensor([0, 2]), gamma=gamma, smoothing=smoothing)
        sums = told if dtype == torch.float32 else -((1 - right.exp()) ** gamma * aim).sum()
        return torch.autograd.grad(sums, scores)[0].double()

    assert gradient(torch.float32).isfinite().all()
    # of the power 0.1 half a step of fp32 is still worth 0.2
    far = {0.1: 0.5, 0.5: 2e-3}.get(gamma, 1e-5)
    torch.testing.assert_close(gradient(torch.float32), gradient(torch.float64), atol=far, rtol=1e-4)


def test_without_remedies_it_is_torchs_cross_entropy():
    scores = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets, weights = torch.tensor([0, 3, IGNORE, 1, 1, 2, 0]), torch.tensor([1.0, 2.0, 0.5, 4.0])
    for given, theirs in (
        ({}, {}),
        ({"weights": weights}, {"weight": weights}),
        ({"smoothing": 0.1}, {"label_smoothing": 0.1}),
        ({"weights": weights, "smoothing": 0.1}, {"weight": weights, "label_smoothing": 0.1}),
    ):
        mine = class_cross_entropy(scores, targets, **given)
        expected = cross_entropy(scores, targets, reduction="sum", **theirs)
        torch.testing.assert_close(mine, expected)
        (by_mine,), (by_theirs,) = (torch.autograd.grad(x, scores) for x in (mine, expected))
        torch.testing.assert_close(by_mine, by_theirs)


def test_balanced_weights_are_sklearns():
    """n / (classes * count), as sklearn.utils.class_weight.compute_class_weight("balanced") has it."""
    weights = balanced(torch.tensor([1, 10, 50]))
    torch.testing.assert_close(weights, torch.tensor([61 / 3, 61 / 30, 61 / 150]))
    documents = Marked([[1, n % 7 + 2, 0] for n in range(61)], labels=[0] + [1] * 10 + [2] * 50)
    batch, made = only(documents, Classes(PAD), 61), model(bert, head=class_head.Config(labels=4, dense="tanh")).train()
    found = classify.Config(weights="balanced").build(Ground(documents, None, made))(
        made, batch
    )  # a fourth class is never seen
    scores = made(batch.ids, batch.layout)
    four = torch.cat([weights * 3 / 4, torch.tensor([61 / 4])])
    torch.testing.assert_close(found.sum, cross_entropy(scores, batch.targets.long(), four, reduction="sum"))


def test_the_remedies_of_classes_are_taken_in_training_alone():
    """Against torch's cross-entropy, of which the focal loss is (1 - p)^2 of each term; held out, the plain one."""
    made = model(bert, head=class_head.Config(labels=3, dense="tanh"))
    with torch.no_grad():
        made.head.out.weight.mul_(50)  # so that one class is likelier than another
    batch = only(Marked([[1, n + 2, 0] for n in range(6)], labels=[n % 3 for n in range(6)]), Classes(PAD))
    weights, aims = (1.0, 2.0, 0.5), torch.tensor([0, 1, 2] * 2)
    scores = made(batch.ids, batch.layout)
    missed = 1 - scores.softmax(-1).gather(1, aims[:, None])[:, 0]
    for smoothing in (0.0, 0.3):
        terms = cross_entropy(scores, aims, torch.tensor(weights), label_smoothing=smoothing, reduction="none")
        objective = classify.Config(smoothing=smoothing, weights=weights, gamma=2.0).build()
        torch.testing.assert_close(objective(made.train(), batch).sum, (missed**2 * terms).sum())
        plain = cross_entropy(scores, aims, reduction="sum")
        torch.testing.assert_close(objective(made.eval(), batch).sum, plain)


def test_tags_by_hand_and_learned():
    documents, tags = [[1, 2, 3, 0], [2, 2, 0]], [[-1, 1, 2, -1], [1, 0, -1]]
    batch = only(Marked(documents, tags=tags), Tags(PAD))
    assert batch.ids.tolist() == [[1, 2, 3, 0], [2, 2, 0, PAD]] or batch.ids.shape[0] == 1
    flat = batch.targets[batch.targets != IGNORE].tolist()
    assert sorted(flat) == [0, 1, 1, 2] and batch.count == 4
    made, objective = model(bert, head=tag_head.Config(labels=3)), tag.Config().build()
    logits = torch.cat([made(torch.tensor([ids]))[0] for ids in documents])
    expected = cross_entropy(
        logits, torch.tensor([t if t >= 0 else IGNORE for row in tags for t in row]), reduction="sum"
    )
    torch.testing.assert_close(objective(made, batch).sum, expected)


def test_a_piece_without_a_tag_is_left_out_and_counted():
    """The end of a word alone; a batch of it would have nothing to learn."""
    source = Marked([[1, 2, 3, 4, 0], [2, 0]], tags=[[-1, 1, -1, -1, 2], [0, -1]])
    found, report = Tags(PAD).spans(source, 2, "split", numbered)
    assert [(span.document, span.start) for span in found] == [(0, 0), (0, 4), (1, 0)]
    assert (report.split, report.empty) == (1, 1)
    told = Data(source, Batching(context=2, batch=1), Tags(PAD), 0).passed_over()
    assert told[-1] == "1 pieces of documents hold nothing to learn and are left out"


def test_the_remedies_of_tags():
    """Weights against torch's, and the focal loss: (1 - p)^2 of each of torch's terms. Held out it is torch's alone."""
    batch = only(Marked([[1, 2, 3, 0], [2, 2, 0]], tags=[[-1, 1, 2, -1], [1, 0, -1]]), Tags(PAD))
    made, weights = model(bert, head=tag_head.Config(labels=3)).train(), (1.0, 2.0, 0.5)
    scores, aims = made(batch.ids, batch.layout).flatten(0, 1), batch.targets.flatten()
    terms = cross_entropy(scores, aims, torch.tensor(weights), reduction="none")
    torch.testing.assert_close(tag.Config(weights=weights).build()(made, batch).sum, terms.sum())
    missed = 1 - scores.softmax(-1).gather(1, aims.clamp_min(0)[:, None])[:, 0]
    torch.testing.assert_close(
        tag.Config(weights=weights, gamma=2.0).build()(made, batch).sum, (missed**2 * terms).sum()
    )
    plain = cross_entropy(scores, aims, reduction="sum")
    torch.testing.assert_close(tag.Config(weights=weights, gamma=2.0).build()(made.eval(), batch).sum, plain)


def test_balanced_weights_of_tags_go_by_tagged_tokens():
    """n / (classes * count) of 1, 3 and 6 tokens, whatever the number of documents; the fourth class is never seen."""
    tags = [[-1, 2, 2, -1], [2, 1, 2, 2], [1, 0, -1, 1], [-1, 2, -1, -1]]
    documents = Marked([[1, n + 2, n + 3, 0] for n in range(4)], tags=tags)
    batch, made = only(documents, Tags(PAD)), model(bert, head=tag_head.Config(labels=4)).train()
    found = tag.Config(weights="balanced").build(Ground(documents, None, made))(made, batch)
    scores, aims = made(batch.ids, batch.layout).flatten(0, 1), batch.targets.flatten()
    weights = torch.tensor([10 / 4, 10 / 12, 10 / 24, 10 / 4])
    torch.testing.assert_close(found.sum, cross_entropy(scores, aims, weights, reduction="sum"))


def test_couples_by_hand_and_learned():
    """The partner is found among the other pairs' seconds: cross-entropy of cosines over the temperature."""
    documents = [[n + 1, 0, n + 11, 5, 0] for n in range(8)]
    batch = only(Marked(documents, cuts=[2] * 8, learned=False), Couples(PAD))
    assert batch.lengths == ((2, 3) * 8,) and batch.targets.tolist() == list(range(8))
    made, objective = model(bert, head=embed.Config()), pairs.Config(temperature=0.1, both=False).build()
    halves = [d[:2] for d in documents], [d[2:] for d in documents]
    first, second = (torch.cat([made(torch.tensor([part])) for part in parts]) for parts in halves)
    scores, partners = first @ second.T / 0.1, torch.arange(8)
    expected = cross_entropy(scores, partners, reduction="sum")
    torch.testing.assert_close(objective(made, batch).sum, expected)
    back = cross_entropy(scores.T, partners, reduction="sum")
    assert abs(back - expected) > 1e-3
    torch.testing.assert_close(pairs.Config(temperature=0.1).build()(made, batch).sum, (expected + back) / 2)
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        objective(made, batch).sum.backward()
        optimizer.step()
    assert objective(made, batch).metrics["accuracy"] == 8


def test_a_lone_couple_at_the_end_of_the_held_out_ones_joins_the_batch_before():
    """Alone it would be found at once, with a loss of 0."""
    documents = Marked([[n + 1, 0, n + 11, 5, 0] for n in range(9)], cuts=[2] * 9, learned=False)
    batches = list(Data(documents, Batching(batch=4, context=32), Couples(PAD)).once())
    assert [batch.count for batch in batches] == [4, 5]
    assert [batch.count for batch in Data(documents, Batching(batch=7, context=32), Couples(PAD)).once()] == [7, 2]


@pytest.mark.parametrize(("batch", "count"), [(1, 9), (4, 1)])
def test_couples_without_others_are_refused(batch, count):
    documents = Marked([[n + 1, 0, n + 11, 0] for n in range(count)], cuts=[2] * count, learned=False)
    with pytest.raises(Refusal, match=f"2 documents at least for this .* found train.batch={batch}, and {count} doc"):
        Data(documents, Batching(batch=batch, context=32), Couples(PAD))


@pytest.mark.parametrize(
    ("reading", "documents", "expected"),
    [
        (Couples, Marked([[1, 2, 3]] * 2, learned=False), "two texts that are read whole, .*use the format pairs"),
        (Couples, Marked([[1, 2, 3]] * 2, cuts=[2, 2]), "two texts that are read whole, .*use the format pairs"),
        (Pairs, Marked([[1, 2, 3]] * 2), "a source and a target that is learned, .*use the format parallel"),
        (Pairs, Marked([[1, 2, 3]] * 2, cuts=[2, 2], learned=False), "a target that is learned, .*format parallel"),
    ],
)
def test_documents_of_another_format_are_refused_with_its_name(reading, documents, expected):
    with pytest.raises(Refusal, match=expected):
        only(documents, reading(PAD))


def test_a_value_that_is_the_mark_of_nothing_to_learn_is_learned():
    batch = only(Marked([[1, 2, 0], [3, 4, 0]], labels=[IGNORE, 3]), Classes(PAD))
    made = model(bert, head=regress.Config(dense="tanh"))
    found = classify.Config().build()(made, batch)
    expected = (made(batch.ids, batch.layout) - torch.tensor([-100.0, 3.0])).square().sum()
    torch.testing.assert_close(found.sum, expected)
    assert found.count == batch.count == 2


@pytest.mark.parametrize("head", [embed.Config(), embed.Config(normalised=False), similar_head.Config()])
def test_likeness_learns_a_value(head):
    """The squared error of torch's cosine, whatever the head leaves to be done."""
    documents, values = [[n + 1, 0, n + 11, 5, 0] for n in range(8)], [n / 4 - 1 for n in range(8)]
    batch = only(Marked(documents, cuts=[2] * 8, labels=values, learned=False), Alike(PAD))
    made, objective = model(bert, head=head), similar.Config().build()
    plain = model(bert, head=embed.Config(normalised=False))
    first, second = (torch.cat([plain(torch.tensor([d[part]])) for d in documents]) for part in (np.s_[:2], np.s_[2:]))
    expected = (torch.cosine_similarity(first, second) - torch.tensor(values)).square().sum()
    torch.testing.assert_close(objective(made, batch).sum, expected)
    assert batch.count == 8
    before, after = learned(made, objective, batch)
    assert after < before / 10
    with pytest.raises(Refusal, match=r"values that say how alike two texts are, .* name their field in format\.value"):
        only(Marked(documents, cuts=[2] * 8, learned=False), Alike(PAD))


def asked(count=12):
    """Two tokens to look for, and a text in which they stand: its letters run, and the answer begins with the first of
    the question and ends with the second.
    """
    random, documents, tags = np.random.default_rng(0), [], []
    for _ in range(count):
        first, last = np.sort(random.integers(8, size=2))
        documents.append([1, 20 + first, 20 + last, 0, *range(20, 28), 0])
        tags.append([-1] * 4 + [int(first <= place <= last) for place in range(8)] + [-1])
    return Marked(documents, cuts=[4] * count, tags=tags), documents, tags


@pytest.mark.parametrize("family", [bert, roberta])
def test_answers_are_looked_for_in_the_text_alone(family):
    """Against two softmaxes of each document's text by itself."""
    source, documents, tags = asked()
    batch = only(source, Answers(PAD), batch=12)
    assert batch.targets.shape == (12, 2) and batch.count == 24
    made, objective, expected, right = model(family, head=span_head.Config()), span.Config().build(), 0.0, 0
    for ids, of, target in zip(documents, tags, batch.targets, strict=True):
        segments = torch.tensor([[0] * 4 + [1] * 9]) if family is bert else None
        scores = made(torch.tensor([ids]), segments=segments)[0, 4:]
        ends = torch.tensor([of.index(1), len(of) - 1 - of[::-1].index(1)])
        assert torch.equal(target, ends)
        expected = expected + cross_entropy(scores.T, ends - 4, reduction="sum")
        right += int((scores.argmax(0) == ends - 4).sum())
    found = objective(made, batch)
    torch.testing.assert_close(found.sum, expected)
    assert found.metrics["accuracy"] == right
    before, after = learned(made, objective, batch, steps=150)
    assert before > 2 and after < 0.1


def test_documents_without_an_answer_are_refused():
    with pytest.raises(Refusal, match=r"a question and a text with its answer, .*use the format questions"):
        only(Marked([[1, 2, 0]], tags=[[-1, 0, -1]]), Answers(PAD))


@pytest.mark.parametrize(
    ("objective", "family", "expected"),
    [
        (similar.Config(), bert, "a vector for a text to be compared by it, but found the head masked"),
        (span.Config(), bert, "where an answer begins and ends to find it, but found the head masked"),
        (causal.Config(), bert, "a decoder to predict the next token, but found an encoder alone"),
        (causal.Config(), bart, "a decoder to predict the next token, but found an encoder and a decoder"),
        (seq2seq.Config(), llama, "an encoder and a decoder to turn one text into another, but found a decoder alone"),
        (classify.Config(), bert, "a head for classes to tell them apart, but found the head masked"),
        (tag.Config(), bert, "a head for tokens' classes to tag them, but found the head masked"),
        (pairs.Config(), bert, "a vector for a text to be found by it, but found the head masked"),
    ],
)
def test_a_model_that_cannot_learn_it_is_refused(objective, family, expected):
    with pytest.raises(Refusal, match=expected):
        objective.require(model(family))


@pytest.mark.parametrize("family", [bart, original])
@pytest.mark.parametrize(
    ("objective", "head"),
    [
        (classify.Config(), class_head.Config(labels=2)),
        (tag.Config(), tag_head.Config(labels=2)),
        (pairs.Config(), embed.Config()),
    ],
)
def test_a_model_of_two_sides_has_no_states_of_one_text(objective, head, family):
    with pytest.raises(Refusal, match="an encoder or a decoder to read one text, but found an encoder and a decoder"):
        objective.require(model(family, head=head))


TWO = classes.Config(labels=("no", "yes"))


@pytest.mark.parametrize(
    ("objective", "head", "form", "expected"),
    [
        (
            classify,
            class_head.Config(labels=1),
            TWO,
            "tell apart the 2 classes of the data, but found 1. .*labels to 2",
        ),
        (tag, tag_head.Config(labels=3), tags.Config(labels=("D", "N")), "tell apart the 2 classes .* but found 3"),
        (classify, class_head.Config(labels=1), classes.Config(labels=("no",)), "two classes at least .* found 'no'"),
        (
            classify,
            class_head.Config(labels=2),
            classes.Config(values=True),
            "rows must have classes for the head class",
        ),
        (classify, regress.Config(), TWO, "values for the head regress to predict, but found 2 classes"),
    ],
)
def test_a_head_that_does_not_fit_the_classes_is_refused(objective, head, form, expected):
    with pytest.raises(Refusal, match=expected):
        objective.Config().require_classes(model(bert, head=head), form)


def test_a_head_that_fits_the_classes_goes_on():
    classify.Config().require_classes(model(bert, head=class_head.Config(labels=2)), TWO)
    classify.Config().require_classes(model(bert, head=regress.Config()), classes.Config(values=True))
    tag.Config().require_classes(model(bert, head=tag_head.Config(labels=2)), tags.Config(labels=("D", "N")))


@pytest.mark.parametrize("objective", [classify, tag])
@pytest.mark.parametrize("weights", [(0, 0), (1, -1), ()])
def test_weights_that_teach_nothing_are_refused(objective, weights):
    with pytest.raises(Refusal, match="weights: must be at least 0 each, and one of them above, or nothing is learned"):
        parse(objective.Config, {"weights": weights})


def test_remedies_that_do_not_fit_are_refused():
    tagger = model(bert, head=tag_head.Config(labels=2))
    for weights in ((1.0,), (1.0, 2.0, 3.0)):
        with pytest.raises(Refusal, match=f"one for each of 2 classes, but found {len(weights)}"):
            tag.Config(weights=weights).require(tagger)
    made = model(bert, head=class_head.Config(labels=2, dense="tanh"))
    with pytest.raises(Refusal, match="one for each of 2 classes, but found 3"):
        classify.Config(weights=(1.0, 2.0, 3.0)).require(made)
    with pytest.raises(Refusal, match="no remedy for classes, but found gamma, smoothing"):
        classify.Config(gamma=1.0, smoothing=0.1).require(model(bert, head=regress.Config()))


@pytest.mark.parametrize("family", [bert, roberta])
def test_two_texts_are_told_apart_in_training_as_the_model_does_it(family):
    """BERT by its two segments; RoBERTa has one, and what stands between the texts tells them apart."""
    documents = Marked([[1, 2, 0, 3, 4, 0], [5, 0, 6, 0]], cuts=[3, 2], labels=[0, 1])
    made = model(family, head=class_head.Config(labels=2, dense="tanh")).train()
    with torch.no_grad():
        for parameter in made.parameters():  # so that a segment makes a difference
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.3)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 0, 0, 1, 1]]) if family is bert else None
    batch, aims = only(documents, Classes(PAD)), torch.tensor([0, 1])
    found = classify.Config().build()(made, batch).sum
    torch.testing.assert_close(
        found, cross_entropy(made(batch.ids, batch.layout, segments=segments), aims, reduction="sum")
    )
    if family is bert:
        assert abs(found - cross_entropy(made(batch.ids, batch.layout), aims, reduction="sum")) > 1e-3


def test_documents_that_are_read_whole_are_not_cut():
    documents = Marked([[1] * 40], labels=[0])
    with pytest.raises(Refusal, match="document 0 must have at most 32 tokens to fit into the context, but found 40"):
        Data(documents, Batching(context=32), Classes(PAD))
    with pytest.raises(
        Refusal, match=r"must be dropped or refused where they are too long, but found train\.long=split"
    ):
        Data(documents, Batching(context=32, long="split"), Classes(PAD))
