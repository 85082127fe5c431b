"""Distillation: its parts on transformers' own states, exact batches, a teacher that stays, a run that goes on, and
what is refused.
"""

import json
import warnings
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors.torch import load_file

from viva.base.config import parse
from viva.base.errors import Notice, Refusal
from viva.base.files import sha256
from viva.model import folder
from viva.model.arch import bert, llama
from viva.model.head import classify as class_head
from viva.model.head import regress
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import causal, distill
from viva.train.run import run
from viva.train.step import update

from .runs import job, recipe, stop_after, weights

EVERYTHING = {"hard": 0.3, "logits": {"weight": 0.7}, "hidden": {"weight": 2.0}, "attention": {"weight": 3.0}}
TOPICS = {"money": ["bank", "price", "loan"], "sport": ["ball", "goal", "team"]}


def model(family, seed, **changes):
    """Weights large enough for states and attention to differ."""
    made = initialise(Transformer(family.TINY.model_copy(update=changes).spec()), seed).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5)
    return made


def objective(student, teacher, **fields):
    config = parse(distill.Config, {"teacher": "teacher", **fields})
    config.require_teacher(teacher, student)
    return distill.Distill(config, student, SimpleNamespace(model=teacher.requires_grad_(False)))


# -- the parts, against transformers


@pytest.fixture
def encoders(tmp_path):
    """A student of one layer and a wider teacher of two, ours and transformers'."""
    head = class_head.Config(labels=3, pool="first", dense="tanh")
    sizes = {"student": {"width": 16, "layers": 1, "hidden": 32}, "teacher": {"width": 32, "layers": 2, "hidden": 64}}
    ours, twins = {}, {}
    for seed, (name, changes) in enumerate(sizes.items()):
        config = bert.TINY.model_copy(update={**changes, "heads": 2, "head": head, "dropout": 0.0})
        ours[name] = model(
            bert,
            seed,
            **{field: getattr(config, field) for field in ("width", "layers", "hidden")}
            | {"heads": 2, "head": head, "dropout": 0.0},
        )
        folder.save(tmp_path / name, config, ours[name])
        twins[name] = transformers.BertForSequenceClassification.from_pretrained(
            tmp_path / name, attn_implementation="eager"
        ).eval()
    return ours, twins


def test_every_part_of_a_classifier_equals_transformers(encoders):
    """Two documents laid end to end against the twins' on each alone: TinyBERT's equations by their words."""
    ours, twins = encoders
    documents = [torch.randint(3, 60, (n,), generator=torch.Generator().manual_seed(n)) for n in (5, 9)]
    batch = Batch(torch.cat(documents)[None], torch.tensor([2.0, 0.0]), ((5, 9),))
    learn = objective(ours["student"], ours["teacher"], task="classify", **EVERYTHING)
    with torch.no_grad():
        learn.likeness.maps["1-2"].weight.copy_(torch.randn(32, 16, generator=torch.Generator().manual_seed(1)))
    maps = {pair: learn.likeness.maps["{}-{}".format(*pair)].weight.detach() for pair in ((0, 0), (1, 2))}
    expected = dict.fromkeys(("hard", "soft", "hidden", "attention"), 0.0)
    for ids, label in zip(documents, (2, 0), strict=True):
        given = {"input_ids": ids[None], "output_hidden_states": True, "output_attentions": True}
        with torch.no_grad():
            one, other = (twins[name](**given) for name in ("student", "teacher"))
        p, q = (found.logits[0].div(2).log_softmax(-1) for found in (other, one))
        expected["hard"] -= one.logits[0].log_softmax(-1)[label]
        expected["soft"] += 4 * torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum")
        for (mine, theirs), w in maps.items():
            far = one.hidden_states[mine][0] @ w.T - other.hidden_states[theirs][0]
            expected["hidden"] += far.square().mean()
        far = one.attentions[0][0] - other.attentions[1][0]
        expected["attention"] += far.square().sum(-1).mean()
    found = learn(ours["student"], batch)
    for name, value in expected.items():
        assert found.metrics[name] == pytest.approx(float(value), rel=2e-5), name
        assert found.metrics[name] > 1e-3, name
    weighed = 0.3 * expected["hard"] + 0.7 * expected["soft"] + 2 * expected["hidden"] + 3 * expected["attention"]
    torch.testing.assert_close(found.sum, weighed, rtol=2e-5, atol=1e-5)
    assert found.count == 2


def decoder_batch(vocab=64):
    ids = torch.randint(3, vocab, (2, 20), generator=torch.Generator().manual_seed(3))
    return Batch(ids, torch.cat([ids[:, 1:], torch.full((2, 1), IGNORE)], 1), ((20,), (20,)))


def test_of_a_decoder_only_what_is_learned_counts():
    """States and attention of the tokens with a target, from the twin's own reading path, by hand."""
    student, teacher, batch = model(llama, 1), model(llama, 2), decoder_batch()
    batch.targets[0, 4:] = IGNORE
    found = objective(student, teacher, **EVERYTHING)(student, batch)
    learned = batch.targets != IGNORE
    names = [str(layer) for layer in range(llama.TINY.layers)]
    with torch.no_grad():
        a, b = (m.weights(batch.ids, names) for m in (student, teacher))
        far = sum((a[name] - b[name]).square().sum(-1).mean(1) for name in names)
        z, u = (m(batch.ids)[learned].div(2).log_softmax(-1) for m in (student, teacher))
    assert found.metrics["attention"] == pytest.approx(float(far[learned].sum()), rel=1e-5)
    kl = torch.nn.functional.kl_div(z, u, log_target=True, reduction="sum")
    assert found.metrics["soft"] == pytest.approx(4 * float(kl), rel=1e-5)
    assert found.metrics["hard"] == pytest.approx(causal.Config().build()(student, batch).sum.item(), rel=1e-6)
    assert found.count == int(learned.sum())


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(beta):
    """But the hard targets: the gradient is that of the causal loss, times its weight."""
    student, batch = model(llama, 1), decoder_batch()
    learn = objective(student, model(llama, 1), **EVERYTHING | {"logits": {"weight": 0.7, "beta": beta}})
    found, alone = learn(student, batch), causal.Config().build()(student, batch)
    assert all(abs(found.metrics[name]) < 1e-4 for name in ("soft", "hidden", "attention"))
    weights = list(student.parameters())
    mine, expected = (torch.autograd.grad(loss.sum, weights) for loss in (found, alone))
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one, 0.3 * other, rtol=1e-3, atol=1e-3)


def test_of_heads_of_two_sizes_the_first_tokens_are_compared():
    """A published family pads its vocabularies to different sizes: rows that no token has do not matter."""
    student, teacher, batch = model(llama, 1), model(llama, 2, vocab=80), decoder_batch()
    said = "the teacher scores 80 tokens and the student 64: both are asked for the first of them, 64"
    with pytest.warns(Notice, match=said):
        found = objective(student, teacher)(student, batch)
    trimmed = model(llama, 2, vocab=80)
    trimmed.embedding.weight = torch.nn.Parameter(trimmed.embedding.weight[:64].detach())
    if trimmed.head.weight is not None:
        trimmed.head.weight = torch.nn.Parameter(trimmed.head.weight[:64].detach())
    torch.testing.assert_close(found.sum, objective(student, trimmed)(student, batch).sum)


# -- runs


def taught(tmp_path, changes=None, student=None):
    """The changes that make of the tiny run one that learns from a teacher in `tmp_path`/teacher, made if need be."""
    if not (tmp_path / "teacher").exists():
        wide = {"kind": "llama", "width": 32, "layers": 2, "heads": 2, "kv_heads": 1, "hidden": 48, "context": 32}
        run(recipe(tmp_path, {"model": wide, "train.steps": 3}, "teacher"))
    fields = {"kind": "distill", "teacher": str(tmp_path / "teacher"), **EVERYTHING}
    return {"objective": fields, "tokenizer": str(tmp_path / "teacher"), **(changes or {})}


def test_exact_however_documents_are_put_together(tmp_path):
    """One batch of 8 documents, 8 of one, and packed rows: the same gradients, which plain descent's steps are."""
    plain = {"train.optim": {"kind": "sgd", "momentum": 0}, "train.lr": 0.1, "valid": 0, "train.context": 128}
    wide = {"model.context": 128}
    run(recipe(tmp_path, plain | wide | {"train.steps": 2, "model.width": 32, "model.hidden": 48}, "teacher"))
    (tmp_path / "data.jsonl").write_text("".join((tmp_path / "data.jsonl").read_text().splitlines(True)[:8]))
    after = {}
    for name, changes in {
        "whole": {"train.batch": 8, "train.pack": False},
        "parts": {"train.batch": 1, "train.accumulate": 8, "train.pack": False},
        "packed": {"train.batch": 8, "train.pack": True},
    }.items():
        work, state = job(tmp_path, taught(tmp_path, plain | wide | changes), name)
        if name == "packed":
            assert work.data.rows < 8
            work.data.epoch = lambda number, work=work: type(work.data)._all(work.data, 0)
            work.data.micro_batches = lambda step, work=work: list(work.data.once())
        update(work, state)
        after[name] = dict(work.learned.named_parameters())
        assert "objective.likeness.maps.1-1.weight" in after[name]
    for name in ("parts", "packed"):
        for weight, expected in after["whole"].items():
            torch.testing.assert_close(after[name][weight], expected, rtol=1e-5, atol=1e-6, msg=f"{name} {weight}")


def test_the_teacher_stays_and_all_else_moves(tmp_path):
    changes = taught(tmp_path)
    before = {path: sha256(path) for path in (tmp_path / "teacher").rglob("*") if path.is_file()}
    work, state = job(tmp_path, changes)
    teacher = work.objective.teacher.model
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    begun = {name: value.clone() for name, value in work.learned.named_parameters()}
    update(work, state)
    assert all(value.equal(kept[name]) for name, value in teacher.state_dict().items())
    assert before == {path: sha256(path) for path in before}
    assert not [name for name, value in work.learned.named_parameters() if value.equal(begun[name])]
    assert len(work.optimizer.state) == len(begun) > len(list(work.model.parameters()))


def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path, monkeypatch):
    """Those of the student, of the maps and of the optimizer, which remembers both."""
    changes = taught(tmp_path)
    straight = run(recipe(tmp_path, changes, "straight"))
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        assert not run(recipe(tmp_path, changes, "stopped")).finished
    assert run(recipe(tmp_path, changes, "stopped")).finished
    for file in ("model.safetensors", "objective.safetensors", "optimizer.safetensors"):
        left, right = (weights(tmp_path / name, 6, file) for name in ("straight", "stopped"))
        assert left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left), file
    started = load_file(straight.checkpoint / "objective.safetensors")["likeness.maps.1-1.weight"]
    assert not started.equal(torch.eye(32, 16))


def test_a_held_out_loss_is_told_in_no_bits_a_byte(tmp_path):
    done = run(recipe(tmp_path, taught(tmp_path, {"train.steps": 2})))
    assert "valid_soft" in done.metrics and "valid_bits_per_byte" not in done.metrics


@pytest.fixture
def polarity(tmp_path):
    """A teacher of two classes, and the changes that give it a student."""
    rows = [{"text": f"the {word} and {n}", "label": t} for n in range(12) for t in TOPICS for word in TOPICS[t]]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sizes = {"kind": "bert", "width": 32, "layers": 2, "heads": 2, "hidden": 64, "context": 64}
    base = {"format": "classes", "train.batch": 16, "train.context": 64, "train.lr": 1e-2}
    run(recipe(tmp_path, base | {"model": sizes, "objective": "classify", "train.steps": 40}, "teacher"))
    fields = {"kind": "distill", "task": "classify", "teacher": str(tmp_path / "teacher")}
    return base | {"tokenizer": str(tmp_path / "teacher"), "objective": fields, "train.steps": 40}


RNN = {"kind": "rnn", "parts": "encoder", "both_ways": True, "width": 16, "layers": 1, "context": 64}


def test_an_lstm_learns_classes_that_only_its_teacher_knows(tmp_path, polarity):
    """The students' rows call everything money, and what is right weighs nothing: all they know is the teacher's."""
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text().splitlines()]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row | {"label": "money"}) + "\n" for row in rows))
    named = {"format": {"kind": "classes", "labels": ["money", "sport"]}, "model": RNN}
    fields = polarity["objective"] | {"hard": 0.0, "logits": {"weight": 1.0}}
    done = run(recipe(tmp_path, polarity | named | {"objective": fields}, "student"))
    assert done.metrics["valid_agreement"] == 1
    assert 0.2 < done.metrics["valid_accuracy"] < 0.8  # what the rows themselves say


# -- what is refused


REFUSED = [
    (
        {"hidden": {"weight": 1.0}},
        RNN,
        "a student must have layers of its own to be compared by, but found a recurrent",
    ),
    ({"hidden": {"weight": 1.0, "layers": [[1, 3]]}}, {}, "objective.hidden.layers must name layers that there are"),
    (
        {"attention": {"weight": 1.0}},
        {"heads": 4},
        "as many heads to attend alike, but found 4 of the student's layer 1",
    ),
    ({"attention": {"weight": 1.0}}, {"layers": 3}, "a multiple of the student's layers .*, but found 2 and 3"),
    ({"task": "causal"}, {"kind": "llama", "kv_heads": 2}, "of the teacher .*: a model must score its vocabulary"),
]


@pytest.mark.parametrize(("fields", "sizes", "said"), REFUSED, ids=[said[:30] for _, _, said in REFUSED])
def test_a_teacher_that_does_not_fit(tmp_path, polarity, fields, sizes, said):
    default = {"kind": "bert", "width": 16, "layers": 1, "heads": 2, "hidden": 32, "context": 64}
    changes = polarity | {"model": sizes if sizes == RNN else default | sizes}
    if fields.get("task") == "causal":
        changes |= {"format": {"kind": "text"}}
    with pytest.raises(Refusal, match=said):
        run(recipe(tmp_path, changes | {"objective": polarity["objective"] | fields}, "student"))


def test_a_value_has_no_distribution():
    values = model(bert, 1, head=regress.Config())
    with pytest.raises(Refusal, match="several answers to learn how likely each is, but found the head regress"):
        parse(distill.Config, {"teacher": "t", "task": "classify"}).require(values)


def test_a_teacher_of_another_tokenizer(tmp_path):
    changes = taught(tmp_path) | {"tokenizer": {"vocab_size": 280}}
    with pytest.raises(Refusal, match=r"the teacher .* needs its own tokenizer: .* must be"):
        run(recipe(tmp_path, changes))


def test_a_teacher_that_numbers_the_classes_otherwise(tmp_path, polarity):
    changes = polarity | {"model": RNN, "format": {"kind": "classes", "labels": ["sport", "money"]}}
    said = r"number the same classes alike, but found \('money', 'sport'\) and \('sport', 'money'\)"
    with pytest.raises(Refusal, match=said):
        run(recipe(tmp_path, changes, "student"))


def test_a_document_longer_than_the_teacher_reads(tmp_path):
    changes = taught(tmp_path, {"model.context": 64, "train.context": 64})
    with pytest.raises(Refusal, match=r"at most the 32 tokens that .*teacher reads, but found one of \d+"):
        run(recipe(tmp_path, changes))


def test_nothing_to_learn_and_weights_below_zero():
    with pytest.raises(Refusal, match="must give one of hard, logits, hidden and attention a weight"):
        parse(distill.Config, {"teacher": "t", "hard": 0, "logits": {"weight": 0}})
    for path, value in {"hard": -1, "logits.temperature": 0, "logits.beta": 1.5, "hidden.weight": -0.1}.items():
        with pytest.raises(Refusal, match=path.split(".")[-1]):
            parse(distill.Config, {"teacher": "t"}, {path: value})


def test_no_warning_where_all_fits(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        student, teacher = model(llama, 1), model(llama, 2)
        objective(student, teacher)(student, decoder_batch())
