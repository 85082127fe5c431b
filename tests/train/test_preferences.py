"""Preferences in the loop: how pairs are read, what they are compared with, that batches and kills change nothing."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from viva.align.preference import sigmoid
from viva.base.errors import Refusal
from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.train import metrics
from viva.train.cost import cost
from viva.train.data import Batching, Data
from viva.train.loss import IGNORE
from viva.train.objective import dpo, kto
from viva.train.objective._answers import Spoken, told
from viva.train.objective._reference import FILE, Reference
from viva.train.objective._sides import Sides
from viva.train.objective.dpo import Preference
from viva.train.objective.kto import Judged, mismatched
from viva.train.run import run
from viva.train.step import update

from .fakes import Memory
from .preferring import base, judged
from .runs import job, looked, recipe, stop_after, weights

PAD = 63


def couples(pairs, prompts):
    """Documents of pairs of sides, of which the first `prompts` tokens are asked."""
    found = Memory([[*one, *other] for one, other in pairs])
    found.masks = [
        np.concatenate([np.arange(len(side)) >= prompt for side in pair])
        for pair, prompt in zip(pairs, prompts, strict=True)
    ]
    found.cuts = np.array([len(one) for one, _ in pairs])
    return found


def read(documents, reading=None, **batching):
    return Data(documents, Batching(**{"batch": 8, "context": 32, **batching}), reading or Sides(PAD))


def test_a_batch_of_pairs_by_hand():
    """Prompt 1 2 with answers 3 4 0 and 5 0, then prompt 6 with 7 0 and 8 9 0: each side predicts its answer alone."""
    data = read(couples([([1, 2, 3, 4, 0], [1, 2, 5, 0]), ([6, 7, 0], [6, 8, 9, 0])], [2, 1]))
    data.epoch = lambda number: [[span] for span in data.spans]
    [batch] = data.once()
    assert batch.ids.tolist() == [[1, 2, 3, 4, 1, 2, 5, 6, 7, 6, 8, 9]]
    no = IGNORE
    assert batch.targets.tolist() == [[no, 3, 4, 0, no, 5, 0, 7, 0, 8, 9, 0]]
    assert batch.lengths == ((4, 3, 2, 3),) and batch.count == 2 and batch.tokens == 12
    assert Spoken.of(batch).lengths == (3, 2, 2, 3)


SIDES = ([1, 2, 3, 4, 5, 6, 0], [1, 2, 7, 0])  # 6 and 3 tokens are read


def test_a_side_may_fill_the_context_and_no_more():
    assert read(couples([SIDES], [2]), context=6).report.dropped == 0
    with pytest.raises(Refusal, match=r"^the longer answer of document 0 must have at most 6 tokens .*, but found 7\."):
        read(couples([SIDES], [2]), context=5)


def test_a_pair_that_is_too_long_is_dropped_and_said():
    data = read(couples([SIDES, ([1, 2, 0], [1, 3, 0])], [2, 1]), context=5, long="drop")
    assert [span.document for span in data.spans] == [1]
    assert data.passed_over() == ["1 documents (11 tokens) are longer than the context and left out"]


def test_rows_that_cannot_be_read_are_left_out_of_what_is_held_out_too(tmp_path, capsys):
    """By the tokenizer and the format of the run, counted and said; what was decided is kept for a run that goes on."""
    changes, bad = base(tmp_path), json.dumps({"prompt": "a ", "chosen": "b"}) + "\n"
    lines = (tmp_path / "pairs.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "pairs.jsonl").write_text("".join([*lines[:20], bad, *lines[20:]]))
    (tmp_path / "held.jsonl").write_text("".join([*lines[:6], bad, bad]))
    changes |= {"held_out": {"kind": "files", "path": str(tmp_path / "held.jsonl")}, "train.steps": 2}
    with pytest.raises(Refusal, match=r"pairs\.jsonl:21 must have the field 'rejected'"):
        run(recipe(tmp_path, changes, "refused"))
    given = recipe(tmp_path, changes | {"filter": ["unreadable"]}, "filtered")
    looked(given)
    assert "8 rows: 0 refused, 2 left out by unreadable, 0 empty, 6 documents" in capsys.readouterr().out
    assert run(given).finished
    said = capsys.readouterr().err
    assert "training: 40 documents of 41 rows (1 left out by filters" in said
    assert "held out: 6 documents of 8 rows (2 left out by filters" in said
    assert (
        "held.jsonl: 2 of 8 rows left out by unreadable, such as" in said and "must have the field 'rejected'" in said
    )
    decided = sorted((tmp_path / "filtered" / "tokens").glob("sift-*"))
    assert run(given).finished and sorted((tmp_path / "filtered" / "tokens").glob("sift-*")) == decided
    named = changes | {"filter": [{"kind": "unreadable", "tokenizer": str(tmp_path / "base")}]}
    assert run(recipe(tmp_path, named, "named")).finished


def test_a_prompt_that_fills_the_context_is_refused_with_its_place():
    with pytest.raises(
        Refusal,
        match=r"^the prompt of rows\.jsonl:7 must leave room for an answer in the context of 3 tokens, but found",
    ) as refused:
        Data(couples([SIDES], [4]), Batching(context=3), Sides(PAD), named=lambda number: "rows.jsonl:7")
    assert "a prompt of 4. To fix it, raise train.context, or set train.long to drop" in str(refused.value)


def test_documents_that_are_no_pairs_are_refused():
    with pytest.raises(Refusal, match="documents must be two answers to a prompt, but found another format"):
        read(Memory([[1, 2, 3]]))


def test_answers_to_other_prompts_by_hand():
    """Prompts 1 2, 3 and 4 with answers 5 0, 6 7 0 and 8 0: the first is given the last one's answer, and so on."""
    documents = Memory([[1, 2, 5, 0], [3, 6, 7, 0], [4, 8, 0]], labels=[1, 0, 1])
    documents.masks = [np.array(mask, bool) for mask in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 1, 1])]
    data = read(documents, Judged(PAD))
    data.epoch = lambda number: [[span] for span in data.spans]
    [batch] = data.once()
    assert batch.labels.tolist() == [1, 0, 1] and batch.count == 3
    other, no = mismatched(batch, 32), IGNORE
    assert other.ids.tolist() == [[1, 2, 8, 3, 5, 4, 6, 7]] and other.lengths == ((3, 2, 3),)
    assert other.targets.tolist() == [[no, 8, 0, 5, 0, 6, 7, 0]]
    with pytest.warns(UserWarning, match="answers to prompts of others, .* are cut at the model's context of 2"):
        assert mismatched(batch, 2).lengths == ((2, 2, 2),)


def drawn(count=9, seed=0):
    """Pairs of uneven lengths: one batch of them has prompts of 1 to 6 tokens and answers of 1 to 12."""
    pick = random.Random(seed)
    ids = lambda most: [pick.randrange(1, 60) for _ in range(pick.randint(1, most))]  # noqa: E731
    prompts = [ids(6) for _ in range(count)]
    return couples([(p + ids(12), p + ids(12)) for p in prompts], [len(p) for p in prompts])


def test_log_probabilities_are_those_of_each_document_by_itself():
    model = initialise(Transformer(llama.TINY.spec()), seed=1).eval()
    [batch] = read(drawn(), batch=9).once()
    found = told(model, batch, Spoken.of(batch))
    parts = zip(batch.ids[0].split(batch.lengths[0]), batch.targets[0].split(batch.lengths[0]), strict=True)
    for own, (ids, targets) in zip(found, parts, strict=True):
        logs = model(ids[None])[0].log_softmax(-1)
        right = sum(logs[place, aim] for place, aim in enumerate(targets.tolist()) if aim != IGNORE)
        torch.testing.assert_close(own, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [9, 4, 1])
def test_gradients_of_packed_pairs_are_those_of_each_answer_by_itself(batch):
    """Pairs end to end in one row, and in more rows than one, beside -log sigmoid(beta margin) of answers each read
    alone, from a model's scores (Rafailov et al. 2023, equation 7).
    """
    made = [initialise(Transformer(llama.TINY.spec()), seed=seed).double() for seed in (1, 2, 1)]
    policy, reference, twin = (model.eval() for model in made)
    data, beta = read(drawn(), batch=batch), 0.5
    preference = Preference(sigmoid.Config(beta=beta), Reference(SimpleNamespace(model=reference)))
    batches = list(data.once())
    assert [len(found.lengths[0]) for found in batches] == [2 * batch] * (9 // batch) + [2] * (9 % batch)
    for found in batches:
        preference(policy, found).sum.backward()

    def answered(model, side, learned):
        logs = model(torch.tensor(side.astype(int))[None])[0].log_softmax(-1)
        return sum(logs[place - 1, side[place]] for place in np.flatnonzero(learned))

    for number, cut in enumerate(data.documents.cuts):
        ids, mask = data.documents[number]
        sides = [(ids[:cut], mask[:cut]), (ids[cut:], mask[cut:])]
        chosen, rejected = (answered(twin, *side) - answered(reference, *side).detach() for side in sides)
        (-(beta * (chosen - rejected)).sigmoid().log()).backward()
    alone = dict(twin.named_parameters())
    for name, value in policy.named_parameters():
        assert value.grad.abs().max() > 1e-6
        torch.testing.assert_close(value.grad, alone[name].grad, rtol=1e-6, atol=1e-9, msg=name)


# ------------------------------------------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferences")
    return folder, base(folder)


def equal(left, right):
    return left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)


def test_accumulation_is_exact(place):
    """8 pairs at once, one by one and four by four: the same weights after steps of plain descent."""
    folder, changes = place
    changes = changes | {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, "valid": 0}
    found = []
    for batch in (8, 1, 4):
        work, state = job(folder, changes | {"train.batch": batch, "train.accumulate": 8 // batch}, out=f"by-{batch}")
        before = {name: value.detach().clone() for name, value in work.model.named_parameters()}
        losses = [update(work, state)["loss"] for _ in range(3)]
        found.append((losses, dict(work.model.named_parameters())))
        assert all(not value.equal(before[name]) for name, value in work.model.named_parameters())
    for losses, parameters in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-6)
        for name, value in parameters.items():
            torch.testing.assert_close(value, found[0][1][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precompute", [False, True])
def test_a_stopped_run_resumes_bit_for_bit(place, monkeypatch, precompute):
    """And compares with the model it began from, not with the checkpoint it goes on from."""
    folder, changes = place
    changes = changes | {"objective.precompute": precompute}
    straight, stopped = f"straight-{precompute}", f"stopped-{precompute}"
    run(recipe(folder, changes, straight))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert not run(recipe(folder, changes, stopped)).finished
    run(recipe(folder, changes, stopped))
    assert equal(weights(folder / straight, 6), weights(folder / stopped, 6))
    assert (folder / stopped / FILE).is_file() == precompute


def test_kto_resumes_bit_for_bit(place, monkeypatch):
    folder, changes = place
    changes = judged(folder, changes)
    run(recipe(folder, changes, "kto-straight"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run(recipe(folder, changes, "kto-stopped"))
    run(recipe(folder, changes, "kto-stopped"))
    assert equal(weights(folder / "kto-straight", 6), weights(folder / "kto-stopped", 6))


def test_at_the_start_nothing_is_preferred(place):
    """The policy is its own reference then: rewards are 0, the loss of a pair is ln 2, of a judged answer 1/2."""
    folder, changes = place
    [first, *_] = metrics.read(run(recipe(folder, changes, "first")).folder)
    assert first["loss"] == pytest.approx(np.log(2)) and first["margin"] == first["chosen_reward"] == 0
    [first, *_] = metrics.read(run(recipe(folder, judged(folder, changes), "first-judged")).folder)
    assert first["loss"] == 0.5 and first["kl"] == 0


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "orpo", "simpo"])
def test_every_loss_learns_what_is_preferred(place, loss):
    folder, changes = place
    changes = changes | {"objective.loss.kind": loss, "train.steps": 25, "train.batch": 8, "train.eval_every": 25}
    assert run(recipe(folder, changes, f"learns-{loss}")).metrics["valid_accuracy"] == 1


def test_kto_learns_what_is_preferred(place):
    folder, changes = place
    changes = judged(folder, changes) | {"train.steps": 25, "train.eval_every": 25}
    assert run(recipe(folder, changes, "learns-kto")).metrics["valid_accuracy"] > 0.9


def test_a_remembered_reference_says_what_the_model_does_and_is_not_asked_again(place, monkeypatch):
    folder, changes = place
    record = run(recipe(folder, changes, "asked")).metrics
    remembered = run(recipe(folder, changes | {"objective.precompute": True}, "remembered")).metrics
    for name in ("loss", "margin", "chosen_reward", "valid_loss"):
        assert remembered[name] == pytest.approx(record[name], rel=1e-4, abs=1e-5)
    kept = (folder / "remembered" / FILE).read_bytes()
    (folder / "remembered" / FILE).write_bytes(kept + b"half a record")
    monkeypatch.setattr("viva.train.objective._reference.told", None)
    work, state = job(folder, changes | {"objective.precompute": True}, "remembered")
    work.objective.prepare(work.folder, [work.data, work.valid], work.precision)
    assert (folder / "remembered" / FILE).read_bytes() == kept
    update(work, state)


def test_the_reference_may_be_another_model_or_none(place):
    folder, changes = place
    run(recipe(folder, {"train.steps": 2, "valid": 0, "seed": 5, "tokenizer": str(folder / "base")}, "other"))
    for reference, differs in (("start", False), (str(folder / "other"), True), (None, True)):
        work, state = job(folder, changes | {"objective.reference": reference}, f"by-{differs}-{reference is None}")
        assert (abs(update(work, state)["margin"]) > 1e-3) == differs


@pytest.mark.parametrize("make", [dict, judged])
def test_with_an_adapter_the_reference_is_the_model_without_it(place, make):
    """No second copy is read. Steps are those of a run whose reference is the base in its folder."""
    folder, changes = place
    changes = (judged(folder, changes) if make is judged else changes) | {"adapter.kind": "lora"}
    records = []
    for reference in ("start", changes["init"]):
        work, state = job(folder, changes | {"objective.reference": reference}, f"lora-{make.__name__}-{len(records)}")
        assert hasattr(work.objective.reference, "frozen") == (reference != "start")
        work.model.train()
        records.append([update(work, state) for _ in range(4)])
        assert work.model.training
    for one, other in zip(*records, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)
    assert abs(records[0][-1]["margin"]) > 1e-4


def test_memory_is_told_with_the_reference_where_it_stays(place):
    """A copy of 8,720 weights, but for a reference that is let go or is the model itself."""
    folder, changes = place
    told_of = {}
    for name, more in {"copy": {}, "kept": {"objective.precompute": True}, "lora": {"adapter.kind": "lora"}}.items():
        work, _ = job(folder, changes | more, f"cost-{name}")
        told_of[name] = cost(work, 32).memory.get("other models", 0) / 4
    assert told_of == {"copy": 8720, "kept": 0, "lora": 0}


# ------------------------------------------------------------------------------------------------- what is refused


def test_a_reference_with_another_tokenizer_is_refused(place):
    folder, changes = place
    run(recipe(folder, {"train.steps": 1, "valid": 0, "tokenizer.vocab_size": 290}, "narrow"))
    with pytest.raises(Refusal, match=r"the reference .*narrow.* needs its own tokenizer: .* must be .*, but found"):
        job(folder, changes | {"objective.reference": str(folder / "narrow")}, "refused")


def test_a_new_model_has_no_start_to_compare_with(place):
    folder, changes = place
    sizes = {"kind": "llama", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 32}
    with pytest.raises(
        Refusal, match="the reference must be a model that was trained before, but found a run that begins"
    ):
        job(folder, changes | {"init": None, "model": sizes, "tokenizer": str(folder / "base")}, "new")


@pytest.mark.parametrize("objective, form", [("dpo", "kto"), ("kto", "preference")])
def test_rows_of_another_format_are_refused(place, objective, form):
    folder, changes = place
    with pytest.raises(Refusal, match=f"but found the format {form}. To fix it, use the format"):
        job(
            folder,
            judged(folder, changes)
            | {
                "data.path": str(folder / f"{'judged' if form == 'kto' else 'pairs'}.jsonl"),
                "format.kind": form,
                "objective": {"kind": objective},
            },
            "rows",
        )


@pytest.mark.parametrize(
    "fields, why",
    [
        ({"loss": {"beta": -0.1}}, "greater than 0"),
        ({"loss": "simpo", "reference": "models/base"}, "the loss simpo compares with no reference"),
        ({"loss": "orpo", "precompute": True}, "precompute asks a reference, but there is none"),
        ({"reference": None, "precompute": True}, "precompute asks a reference, but there is none"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, why):
    with pytest.raises(ValidationError, match=why):
        dpo.Config(**fields)


def test_kto_without_a_reference_is_refused():
    said = r"^kto must compare with a reference, but found objective\.reference=null\. To fix it, leave it out for what"
    with pytest.raises(Refusal, match=said):
        kto.Config(reference=None)


def test_a_negative_beta_of_kto_is_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        kto.Config(beta=-1)


def test_a_dry_run_shows_a_side_with_its_answer_and_counts_what_does_not_fit(place, capsys):
    """One of two pairs has a side that is too long where 3 tokens are read at once."""
    folder, changes = place
    rows = [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "a big red dog", "rejected": "c"},
    ]
    (folder / "short.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = {"data.path": str(folder / "short.jsonl"), "valid": 0, "train.context": 3, "train.long": "drop"}
    looked(recipe(folder, changes | data | {"train.batch": 1}, "dry"))
    said = capsys.readouterr().out
    assert "\n1 documents are longer than the 3 tokens read at once: they are left out\n" in said
    assert (
        "the first of 2 documents of the first batch, as the objective makes it: 3 tokens; of the batch's 6, 4 are"
        in said
    )
    assert "\n<|endoftext|>a⟦b<|endoftext|>⟧\n" in said
