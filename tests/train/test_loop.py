"""What must hold of training itself, on whole small runs."""

import math
from dataclasses import replace

import pytest
import torch
import transformers

from viva.base.errors import Refusal
from viva.train import checkpoint, loop, metrics
from viva.train.evaluation import evaluate
from viva.train.job import State
from viva.train.loss import IGNORE
from viva.train.run import run
from viva.train.step import update
from viva.train.stop import Asked

from .runs import job, recipe, stop_after, straight_and_resumed, weights


def differing(left, right):
    assert left.keys() == right.keys()
    return {name for name in left if not torch.equal(left[name], right[name])}


def assert_near(left, right, **tolerance):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], **tolerance)


def test_overfits_one_batch(tmp_path):
    """Two documents that differ in every word: nothing but the first word's choice, ln 2 a document, stays unknown."""
    words = ["the cat sees a dog and likes it", "never always old small red big but hears"]
    (tmp_path / "data.jsonl").write_text("".join(f'{{"text": "{line}"}}\n' for line in words))
    work, state = job(tmp_path, {"valid": 0, "train.lr": 2e-2, "train.context": 128, "model.context": 128})
    losses = [update(work, state)["loss"] for _ in range(150)]
    floor = 2 * math.log(2) / work.data.micro_batches(0)[0].count
    assert losses[0] > 5 and losses[-1] < floor + 0.02


@pytest.mark.parametrize("optim", ["adamw", "muon"])
def test_every_weight_moves_and_memory_is_saved_for_each(tmp_path, optim):
    work, state = job(tmp_path, {"train.optim": optim})
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    update(work, state)
    assert differing(before, dict(work.model.named_parameters())) == set(before)
    assert len(work.optimizer.state) == len(before)


def after(tmp_path, out, changes):
    """The weights after three steps of plain descent, whose steps are the gradients themselves."""
    work, state = job(tmp_path, {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, **changes}, out)
    for _ in range(3):
        update(work, state)
    return dict(work.model.named_parameters())


def test_what_grows_in_training_knows_how_much_of_it_is_behind(tmp_path):
    """Of 6 steps the first has none behind it; of a run whose length is not yet measured none is known to be."""
    work, state = job(tmp_path)
    seen, objective = [], work.objective
    work = replace(work, objective=lambda model, batch: seen.append(batch.done) or objective(model, batch))
    loop.fit(work, state, Asked())
    steps = [step / 6 for step in range(6)]
    assert [done for done in seen if done < 1] == pytest.approx(steps) and seen.count(1.0) == len(seen) - 6
    update(work, State())
    assert seen[-1] == 0


def test_a_run_with_scheduled_sampling_resumes_bit_for_bit(tmp_path, monkeypatch):
    changes = {
        "model": {"kind": "bart", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 40},
        "tokenizer": {"vocab_size": 300, "mask": True},
        "objective": {"kind": "denoise", "sampled": 0.9},
    }
    made = lambda out: recipe(tmp_path, changes, out)  # noqa: E731
    straight, resumed = straight_and_resumed(monkeypatch, made)
    assert not differing(weights(straight.folder, 6), weights(resumed.folder, 6))


def test_accumulation_is_exact(tmp_path):
    """8 rows at once or 8 times one: the rows differ in length, so a mean of means would differ."""
    uneven = {"train.pack": False, "train.clip": 0}
    whole = after(tmp_path, "whole", {"train.batch": 8, "train.accumulate": 1, **uneven})
    parts = after(tmp_path, "parts", {"train.batch": 1, "train.accumulate": 8, **uneven})
    assert_near(whole, parts, rtol=1e-5, atol=1e-6)


def test_the_loss_that_spreads_tokens_over_experts_is_learned(tmp_path):
    """Loss and gradients of an update are those of transformers with output_router_logits, over two micro-batches."""
    sizes = {"width": 16, "layers": 2, "heads": 2, "kv_heads": 1, "context": 32}
    experts = {"kind": "qwen2_moe", "experts": 4, "chosen": 2, "expert_hidden": 8, "shared_hidden": 8, "balance": 0.5}
    descent = {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, "train.clip": 0}
    work, state = job(tmp_path, {"model": sizes | experts, "train.pack": False, "train.accumulate": 2, **descent})
    work.save(state)
    twin = transformers.AutoModelForCausalLM.from_pretrained(checkpoint.place(work.folder, 0)).train()
    batches, total, balance = work.data.micro_batches(0), 0.0, 0.0
    for batch in batches:
        real = torch.tensor([[place < row[0] for place in range(batch.ids.shape[1])] for row in batch.lengths]).long()
        out = twin(batch.ids, attention_mask=real, output_router_logits=True)
        added = batch.count * 0.5 * out.aux_loss
        targets = batch.targets.flatten()
        total = total + torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), targets, reduction="sum") + added
        balance += added.item()
    count = sum(batch.count for batch in batches)
    (total / count).backward()
    record = update(work, state)
    assert record["loss"] == pytest.approx(total.item() / count, rel=1e-5)
    assert record["balance"] == pytest.approx(balance / count, rel=1e-5)
    for mine, theirs in zip(work.model.decoder.layers, twin.model.layers, strict=True):
        stepped = theirs.mlp.gate.weight - theirs.mlp.gate.weight.grad
        torch.testing.assert_close(mine.ffn.router.weight, stepped, atol=1e-6, rtol=1e-4)


def test_packing_and_padding_learn_the_same(tmp_path):
    """One step on all rows, packed or each on its own: the same tokens, so the same gradient."""
    every = {"valid": 0, "train.batch": 1000, "train.clip": 0, "train.steps": 1}
    packed, padded = (
        job(tmp_path, {**every, "train.pack": p, "train.context": 40, "model.context": 40}, str(p))
        for p in (True, False)
    )
    gradients = []
    for work, _ in (packed, padded):
        [total] = [work.objective(work.model, batch) for batch in [next(work.data.once())]]
        (total.sum / total.count).backward()
        gradients.append({name: p.grad for name, p in work.model.named_parameters()})
    assert_near(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_recomputed_activations_give_the_same_gradients(tmp_path, precision, dropout):
    changes = {"model.dropout": dropout, "train.precision": precision}
    kept = after(tmp_path, "kept", changes)
    recomputed = after(tmp_path, "recomputed", {**changes, "train.recompute": True})
    assert_near(kept, recomputed, rtol=1e-6, atol=1e-7)


def test_dropout_is_on_in_training_and_off_in_evaluation(tmp_path):
    work, _ = job(tmp_path, {"model.dropout": 0.5, "valid": 0.3})
    assert evaluate(work) == evaluate(work)
    batch = work.data.micro_batches(0)[0]
    assert work.objective(work.model, batch).sum != work.objective(work.model, batch).sum


@pytest.mark.parametrize("changes", [
    {"train.optim": "adamw", "model.dropout": 0.1},
    {"train.optim": "muon", "train.accumulate": 2},
    {"train.optim": "rmsprop", "train.schedule": "wsd"},
    {"train.precision": "bf16", "train.optim": "muon"},
])  # fmt: skip
def test_resume_is_bit_identical(tmp_path, monkeypatch, changes):
    straight = run(recipe(tmp_path, changes, "straight"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        stopped = run(recipe(tmp_path, changes, "resumed"))
    assert (stopped.finished, stopped.metrics["step"]) == (False, 3)
    resumed = run(recipe(tmp_path, changes, "resumed"))
    assert resumed.finished and [r["step"] for r in metrics.read(resumed.folder)] == [1, 2, 3, 4, 5, 6]
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert not differing(weights(straight.folder, 6, file), weights(resumed.folder, 6, file))
    assert resumed.metrics["loss"] == straight.metrics["loss"]


@pytest.mark.parametrize("precision", ["bf16", "fp16", "auto"])
def test_other_precisions_follow_fp32(tmp_path, precision):
    full = run(recipe(tmp_path, out="full"))
    other = run(recipe(tmp_path, {"train.precision": precision}, "other"))
    assert other.metrics["loss"] == pytest.approx(full.metrics["loss"], rel=0.02)
    assert weights(other.folder, 6)["model.norm.weight"].dtype == torch.float32


def test_an_fp16_overflow_skips_the_update_and_says_so(tmp_path):
    work, state = job(tmp_path, {"train.precision": "fp16"})
    work.precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    record = update(work, state)
    assert record["skipped"] == "fp16 overflow; the loss scale was halved"
    assert not differing(before, dict(work.model.named_parameters()))
    assert work.precision.scaler.get_scale() == 2.0**99


def test_early_stopping_keeps_the_best(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.1, 9.0])
    monkeypatch.setattr(loop, "evaluate", lambda job: {"valid_loss": next(losses)})
    ended = run(recipe(tmp_path, {"train.steps": 9, "train.eval_every": 1, "train.patience": 2, "train.keep": 1}))
    assert ended.finished and ended.metrics["step"] == 4
    assert ended.checkpoint.name == "step-00000002"
    assert sorted(path.name for path in (ended.folder / "checkpoints").iterdir()) == ["step-00000002", "step-00000004"]


def test_held_out_bits_per_byte_are_the_loss_in_other_units(tmp_path):
    """bits = nats / ln 2, over the bytes of the text, which the end token of each document is not part of."""
    work, _ = job(tmp_path)
    found = evaluate(work)
    docs = work.valid.documents
    tokens = int(docs.lengths.sum()) - len(docs)  # all but the begin token of each
    size = sum(len(work_text.encode()) for work_text in decoded(tmp_path, docs))
    assert found["valid_bits_per_byte"] == pytest.approx(found["valid_loss"] * tokens / math.log(2) / size)


def decoded(tmp_path, docs):
    from viva.text.tokens.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(tmp_path / "run" / "tokenizer")
    return [tokenizer.decode(docs[i][0].tolist(), skip_special=True) for i in range(len(docs))]


def test_nothing_to_learn_is_refused(tmp_path, monkeypatch):
    work, state = job(tmp_path)
    batches = work.data.micro_batches(0)
    for batch in batches:
        batch.targets.fill_(IGNORE)
    monkeypatch.setattr(work.data, "micro_batches", lambda step: batches)
    with pytest.raises(
        Refusal, match=r"must have tokens to learn \(step 0\), but found a loss mask that hides them all"
    ):
        update(work, state)


def test_minutes_are_turned_into_steps_by_the_pace(tmp_path):
    """2 s a step, one slow first step of 6 s: after 20 s of the minute, 40 s remain for 20 more steps."""
    assert loop.paced(1.0, [6.0] + [2.0] * 7, step=8) == 8 + 20
    work, state = job(tmp_path, {"train.steps": None, "train.minutes": 0.01})
    assert loop.fit(work, state, Asked())
    assert state.steps == state.step > loop.PACE


def test_epochs_are_turned_into_steps(tmp_path):
    work, _ = job(tmp_path, {"train.steps": None, "train.epochs": 2.0})
    assert loop.length(work.train, work.data) == math.ceil(2 * work.data.rows / 3)


def test_the_rate_follows_the_schedule(tmp_path):
    work, state = job(tmp_path, {"train.schedule.kind": "linear", "train.schedule.warmup": 2})
    state.steps = 6
    rates = [update(work, state)["lr"] for _ in range(6)]
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.0075, 0.005, 0.0025])


def test_the_gradient_is_clipped_by_its_global_norm(tmp_path):
    """With plain descent at rate 1 the step is the clipped gradient: its norm over all tensors is `clip`."""
    work, state = job(
        tmp_path, {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, "train.clip": 0.01}
    )
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    assert update(work, state)["norm"] > 0.1
    step = torch.cat([(value - before[name]).flatten() for name, value in work.model.named_parameters()])
    assert step.norm().item() == pytest.approx(0.01, rel=1e-3)


def test_the_state_counts_tokens(tmp_path):
    work, state = job(tmp_path)
    expected = sum(batch.tokens for step in range(2) for batch in work.data.micro_batches(step))
    update(work, state), update(work, state)
    assert state == State(step=2, tokens=expected)
