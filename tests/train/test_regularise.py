"""NEFTune, R-Drop and mixout: against the papers' formulas, torch's own functions, and exactness of whole runs."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax

from viva.base.errors import Refusal
from viva.train import checkpoint
from viva.train.evaluation import evaluate
from viva.train.objective import Ground, Loss
from viva.train.regularise import mixout, neftune, r_drop
from viva.train.run import run
from viva.train.step import update

from .runs import job, recipe, straight_and_resumed, weights
from .test_classify import changes as classifier
from .test_classify import lines

SAME = {topic: topic for topic in ("sport", "money")}
PLAIN = {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, "train.clip": 0}


def one_way(model, batch, found):
    """An objective that keeps what the first block reads."""
    x = model.embedding(batch.ids)
    found.append(x.detach())
    return x


def noise(work, batch, alpha, seen=None):
    """What NEFTune adds to the vectors of a batch."""
    found = []
    objective = neftune.Config(alpha=alpha).wrap(lambda model, b: one_way(model, b, found), None)
    objective(work.model.train(), batch)
    return found[0] - work.model.embedding(batch.ids).detach()


def test_noise_is_uniform_and_scaled_by_the_length_of_each_document(tmp_path):
    """|e| <= alpha / sqrt(L E), and a variance of a third of its square; other numbers in every row."""
    work, _ = job(tmp_path, {"train.batch": 6, "train.context": 64, "model.context": 64, "model.width": 64})
    batch = work.data.micro_batches(0)[0]
    found, ratios = noise(work, batch, 5.0), []
    assert max(map(len, batch.lengths)) > 1  # packed
    for row, sizes in enumerate(batch.lengths):
        at = 0
        for size in sizes:
            ratios.append(found[row, at : at + size] / (5.0 / (size * 64) ** 0.5))
            at += size
        assert not found[row, at:].any()
    ratios = torch.cat(ratios).flatten()
    assert 0.999 < ratios.abs().max() <= 1.0001
    # of n draws the mean has the deviation sqrt(1 / 3 n), the mean square sqrt(4 / 45 n)
    n = len(ratios)
    assert (
        abs(ratios.mean()) < 4 * (1 / (3 * n)) ** 0.5
        and abs(ratios.square().mean() - 1 / 3) < 4 * (4 / (45 * n)) ** 0.5
    )
    assert not torch.equal(found[0, :5], found[1, :5])
    again = work.data.micro_batches(1)[0]
    assert not torch.equal(noise(work, again, 5.0)[0, :5], found[0, :5])


def test_noise_of_documents_end_to_end_is_that_of_each_alone(tmp_path):
    lines(tmp_path, SAME)
    work, _ = job(tmp_path, classifier("bert") | {"train.batch": 4})
    batch = work.data.micro_batches(0)[0]
    found, at = noise(work, batch, 2.0), 0
    for number, size in enumerate(batch.lengths[0]):
        alone = replace(
            batch, ids=batch.ids[:, at : at + size], lengths=((size,),), seeds=batch.seeds[number : number + 1]
        )
        torch.testing.assert_close(found[:, at : at + size], noise(work, alone, 2.0))
        at += size


def after(tmp_path, out, changes):
    work, state = job(tmp_path, PLAIN | changes, out)
    work.model.train()
    for _ in range(2):
        update(work, state)
    return dict(work.model.named_parameters())


def test_noise_is_exact_under_accumulation(tmp_path):
    noisy = {"train.regularise": [{"kind": "neftune", "alpha": 10}], "train.pack": False}
    whole = after(tmp_path, "whole", noisy | {"train.batch": 8})
    parts = after(tmp_path, "parts", noisy | {"train.batch": 1, "train.accumulate": 8})
    none = after(tmp_path, "none", {"train.pack": False, "train.batch": 8})
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[name], rtol=1e-5, atol=1e-6)
    assert (whole["embedding.weight"] - none["embedding.weight"]).abs().max() > 1e-3


def test_held_out_data_are_measured_without(tmp_path):
    lines(tmp_path, SAME)
    dropout = {"model.dropout": 0.1}
    plain, _ = job(tmp_path, classifier("bert") | dropout, "plain")
    given = [{"kind": "neftune", "alpha": 10}, "r_drop"]
    changed, _ = job(tmp_path, classifier("bert") | dropout | {"train.regularise": given}, "changed")
    assert evaluate(changed) == evaluate(plain)


def test_r_drop_is_the_mean_of_two_losses_and_of_two_divergences(tmp_path):
    """torch's kl_div of the scores of two passes; targets that are not learned do not count."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 5, 3, generator=generator)
    targets = torch.tensor([0, 2, -100, 1, 1])
    p, q = (log_softmax(scores[targets >= 0], -1) for scores in (one, other))
    expected = (kl_div(q, p, reduction="sum", log_target=True) + kl_div(p, q, reduction="sum", log_target=True)) / 2
    torch.testing.assert_close(r_drop.of_classes(one, other, targets), expected)
    lines(tmp_path, SAME)
    work, _ = job(tmp_path, classifier("bert") | {"model.dropout": 0.3})
    batch = work.data.micro_batches(0)[0]
    torch.manual_seed(1)
    twice = [work.objective(work.model.train(), batch) for _ in range(2)]
    torch.manual_seed(1)
    scores = [work.model(batch.ids, batch.layout) for _ in range(2)]
    apart = r_drop.of_classes(*scores, batch.targets)
    torch.manual_seed(1)
    wrapped = r_drop.Config(alpha=3.0).wrap(work.objective, ground(work))
    found = wrapped(work.model, batch)
    assert apart > 1e-4
    torch.testing.assert_close(found.sum, (twice[0].sum + twice[1].sum) / 2 + 3 * apart)
    assert found.metrics["r_drop"] == pytest.approx(apart.item())
    assert found.metrics["accuracy"] == sum(loss.metrics["accuracy"] for loss in twice) / 2


@pytest.mark.parametrize("changes", [
    {},
    {"model": {"kind": "gemma2", "width": 16, "layers": 2, "heads": 2, "hidden": 24, "head_dim": 8, "context": 32}},
    {"model": {"kind": "bert", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 32},
     "objective": "masked", "tokenizer": {"vocab_size": 300, "mask": True}},
], ids=["causal", "capped", "masked"])  # fmt: skip
def test_r_drop_of_words_is_that_of_their_scores(tmp_path, changes, monkeypatch):
    """torch's kl_div of whole logits of two passes, and its gradients, also where a few rows are scored at a time."""
    monkeypatch.setattr("viva.train.loss.disagreement.rows_at_once", lambda weight: 3)
    work, _ = job(tmp_path, changes | ({} if "gemma2" in str(changes) else {"model.dropout": 0.3}))
    model, batch = work.model.train(), work.data.micro_batches(0)[0]
    noise = torch.nn.Dropout(0.3)
    model.register_module("noise", noise)  # families without dropout have it on their vectors here
    model.embedding.register_forward_hook(lambda module, given, x: noise(x))
    torch.manual_seed(1)
    losses = [work.objective(model, batch).sum for _ in range(2)]
    torch.manual_seed(1)
    one, other = (model(batch.ids, batch.layout)[batch.targets >= 0].log_softmax(-1) for _ in range(2))
    apart = sum(kl_div(p, q, reduction="sum", log_target=True) for p, q in ((one, other), (other, one))) / 2
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(sum(losses) / 2 + 3 * apart, learned, allow_unused=True)
    torch.manual_seed(1)
    found = r_drop.Config(alpha=3.0).wrap(work.objective, ground(work))(model, batch)
    assert apart > 1e-3 and found.metrics["r_drop"] == pytest.approx(apart.item(), rel=1e-4)
    for mine, plain in zip(torch.autograd.grad(found.sum, learned, allow_unused=True), expected, strict=True):
        assert (mine is None) == (plain is None)
        if mine is not None:
            torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5 * plain.abs().max().item())


def ground(work):
    return Ground(work.data.documents, None, work.model)


def test_mixed_weights_are_those_of_the_paper():
    """Eq. 5 by hand: ((1 - M) w + M u - p w) / (1 - p), written for M = 1 where u is kept; the mean is u."""
    u, w = torch.randn(2, 400, 300, generator=torch.Generator().manual_seed(1))
    found = mixout.mix(u, w, 0.7, torch.Generator().manual_seed(2))
    kept = torch.empty(u.shape).bernoulli_(0.3, generator=torch.Generator().manual_seed(2)).bool()
    expected = (torch.where(kept, u, w) - 0.7 * w) / 0.3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert kept.float().mean().item() == pytest.approx(0.3, abs=0.005)
    assert ((found - u).mean() / ((0.7 / 0.3) ** 0.5 * (u - w).std() / u.numel() ** 0.5)).abs() < 4


@pytest.fixture
def pretrained(tmp_path):
    """A run to go on from, and the changes of one that does."""
    first = run(recipe(tmp_path, {"train.steps": 2}, "first"))
    return {"model": None, "init": str(first.folder), "tokenizer": None}


def test_mixout_moves_what_it_keeps_and_leaves_the_rest(tmp_path, pretrained):
    """At the start u = w, so the loss is the plain one, and a gradient is the plain one over 1 - p where u is kept."""
    plain, state = job(tmp_path, PLAIN | pretrained, "plain")
    update(plain, state)
    work, state = job(tmp_path, PLAIN | pretrained | {"train.regularise": [{"kind": "mixout", "p": 0.8}]}, "mixed")
    work.model.train()
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    update(work, state)
    expected = dict(plain.model.named_parameters())
    for name, value in work.model.named_parameters():
        step, full = value.detach() - before[name], (expected[name] - before[name]).detach()
        mixed = value.ndim == 2 and ".layers." in name
        kept = step != 0 if mixed else torch.ones_like(step, dtype=torch.bool)
        torch.testing.assert_close(step[kept], full[kept] / (0.2 if mixed else 1), rtol=1e-4, atol=1e-6)
        if mixed:
            assert kept.float().mean().item() == pytest.approx(0.2, abs=0.15)


def test_mixout_is_exact_under_accumulation(tmp_path, pretrained):
    mixed = pretrained | {"train.regularise": ["mixout"], "train.pack": False}
    whole = after(tmp_path, "whole", mixed | {"train.batch": 8})
    parts = after(tmp_path, "parts", mixed | {"train.batch": 1, "train.accumulate": 8})
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("adapter", ["lora", "bottleneck"])
def test_an_adapter_has_no_pretrained_weights_to_go_back_to(tmp_path, pretrained, adapter):
    must = "blocks whose pretrained weights are trained for mixout, but found those of an adapter, which begin anew"
    with pytest.raises(Refusal, match=must):
        job(tmp_path, pretrained | {"adapter": adapter, "train.regularise": ["mixout"]}, adapter)
    with pytest.raises(Refusal, match=r"pretrained weights are trained for mixout, but found none.*freeze less"):
        job(tmp_path, pretrained | {"train.freeze": ["decoder"], "train.regularise": ["mixout"]}, "frozen")


def test_a_regularised_run_resumes_bit_for_bit(tmp_path, pretrained, monkeypatch):
    """Back from the middle, mixout still goes back to where the run began, not to the checkpoint it goes on from."""
    given = [{"kind": "neftune", "alpha": 5}, {"kind": "mixout", "p": 0.5}]
    changes = pretrained | {"train.regularise": given}
    straight, resumed = straight_and_resumed(monkeypatch, lambda out: recipe(tmp_path, changes, out))
    left, right = weights(straight.folder, 6), weights(resumed.folder, 6)
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert set(left) == set(weights(tmp_path / "first", 2))
    assert checkpoint.newest(resumed.folder)[0] == checkpoint.place(resumed.folder, 6)


def test_r_drop_resumes_bit_for_bit(tmp_path, monkeypatch):
    lines(tmp_path, SAME)
    changes = classifier("bert") | {"model.dropout": 0.1, "train.regularise": ["r_drop"], "train.steps": 6}
    straight, resumed = straight_and_resumed(monkeypatch, lambda out: recipe(tmp_path, changes, out))
    left, right = weights(straight.folder, 6), weights(resumed.folder, 6)
    assert all(torch.equal(left[name], right[name]) for name in left)
    records = [json.loads(line) for line in (resumed.folder / "metrics.jsonl").read_text().splitlines()]
    assert all(record["r_drop"] > 0 for record in records)


@pytest.mark.parametrize(("given", "message"), [
    ("mixout", "mixout must have pretrained weights to go back to, but found a new model"),
    ("r_drop", "must have dropout for two passes to differ, but found none, so that both are equal"),
])  # fmt: skip
def test_what_a_model_does_not_allow_is_refused(tmp_path, given, message):
    with pytest.raises(Refusal, match=message):
        job(tmp_path, {"train.regularise": [given]})


def test_r_drop_needs_the_states_by_which_words_are_told(tmp_path):
    work, _ = job(tmp_path)
    work.model.register_module("noise", torch.nn.Dropout(0.3))
    regularised = r_drop.Config().wrap(lambda model, batch: Loss(torch.zeros(()), 1), ground(work))
    with pytest.raises(
        Refusal, match=r"a loss must tell of which states words are scored for R-Drop .* but found none"
    ):
        regularised(work.model.train(), work.data.micro_batches(0)[0])


def test_more_refusals(tmp_path, pretrained):
    with pytest.raises(Refusal, match=r"mixed weights must be there in the backward pass, but found train.recompute"):
        job(tmp_path, pretrained | {"train.regularise": ["mixout"], "train.recompute": True}, "again")
    lines(tmp_path, SAME)
    with pytest.raises(
        Refusal, match="must have dropout for two passes to differ, but found none, so that both are equal"
    ):
        job(tmp_path, classifier("llama") | {"train.regularise": ["r_drop"]}, "none")
