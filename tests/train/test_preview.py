"""What --dry-run finds: the loss mask, the counts, what the objective asks, the cost, what would be refused; and that
nothing is left.
"""

import json

import pytest

from viva.base.errors import Refusal
from viva.text.preflight.report import LEARNED, NOTE, READ, Piece
from viva.text.rows.row import Row
from viva.text.rows.split import part_of
from viva.train import preview as module
from viva.train import start
from viva.train.cost import activations, cost, remembered
from viva.train.flops import train_flops
from viva.train.preview import preview
from viva.train.recipe import claim
from viva.train.run import run

from .runs import job, recipe

TALK = [{"role": "user", "content": "what is 1 + 1?"}, {"role": "assistant", "content": "2"}]
BERT = {"kind": "bert", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 32}


def wrote(folder, rows, name="data.jsonl"):
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder / name


def talks(count):
    return [{"messages": [TALK[0], {"role": "assistant", "content": f"it is {i}"}]} for i in range(count)]


@pytest.fixture
def chat(tmp_path):
    """A recipe over ten conversations."""
    wrote(tmp_path, talks(10))
    return recipe(tmp_path, {"valid": 0, "train.context": 64, "model.context": 64})


def marked(shown, mark):
    return "".join(piece.text for piece in shown.pieces if piece.mark == mark)


def test_rows_and_tokens_of_a_chat(chat, tmp_path):
    report = preview(chat)
    [part] = report.parts
    assert (part.format, part.rows, part.documents, part.refused, part.duplicates) == ("messages", 10, 10, 0, 0)
    assert part.ends == part.masked == 10 and 0 < part.learned < part.tokens
    assert marked(part.examples[0], LEARNED) == "it is 0<|im_end|>" and "what is 1 + 1?" in marked(
        part.examples[0], READ
    )
    assert "format: messages, told by the fields messages" in report.notes
    assert report.wrong == [] and not (tmp_path / "run").exists()


def test_counts_are_those_of_the_documents(tmp_path):
    """Both parts of the split, what a filter drops, and duplicates: against the documents a run makes."""
    rows = [{"text": f"the cat sees {n % 40} dogs"} for n in range(50)] + [{"text": "a"}, {"text": ""}]
    wrote(tmp_path, rows)
    given = recipe(tmp_path, {"filter": [{"kind": "length", "min": 2, "fields": ["text"]}], "valid": 0.3})
    train, valid = preview(given).parts
    parts = start.parts(given, claim(given))
    for part, data in ((train, parts.train), (valid, parts.valid)):
        counts = data.documents.counts
        assert (part.rows, part.elsewhere, part.empty, part.documents, part.tokens, part.learned) == (
            counts.rows, counts.elsewhere, counts.empty, counts.documents, counts.tokens, counts.learned
        )  # fmt: skip
        assert part.rows == part.elsewhere + part.empty + part.documents + sum(part.dropped.values()) == 52
    assert train.dropped == valid.dropped == {"length": 2}
    assert train.duplicates + valid.duplicates == 10


def test_a_mixture_is_told_part_by_part(tmp_path):
    wrote(tmp_path, talks(5), "a.jsonl")
    wrote(tmp_path, [{"text": "the old cat"}] * 7, "b.jsonl")
    parts = [{"data": {"kind": "files", "path": str(tmp_path / f"{name}.jsonl")}} for name in "ab"]
    given = recipe(tmp_path, {"data": {"kind": "mixture", "parts": parts}, "valid": 0})
    told = preview(given).parts
    assert [(part.format, part.documents, part.duplicates) for part in told] == [("messages", 5, 0), ("text", 7, 6)]


def test_masked_words_are_shown_with_what_they_were(tmp_path):
    wrote(tmp_path, [{"text": "the old cat sees the old dog"}] * 8)
    changes = {"model": BERT, "objective": {"kind": "masked", "share": 0.4, "masked": 1, "random": 0}}
    report = preview(recipe(tmp_path, {**changes, "tokenizer": {"vocab_size": 270, "mask": True}, "valid": 0}))
    [shown] = report.run.batch
    hidden, answers = marked(shown, LEARNED), [piece.text for piece in shown.pieces if piece.mark == NOTE]
    assert hidden and hidden == "<|mask|>" * hidden.count("<|mask|>")
    said = "".join(answers.pop(0)[1:-1] if piece.mark == LEARNED else piece.text for piece in whole(shown))
    assert said == "<|endoftext|>the old cat sees the old dog<|endoftext|>"
    assert report.parts[0].speaks is False and report.wrong == []


def whole(shown):
    return [piece for piece in shown.pieces if piece.mark != NOTE]


def test_source_and_target_are_shown(tmp_path):
    (tmp_path / "de").write_text("".join(f"ein Hund {n}\n" for n in range(9)))
    (tmp_path / "en").write_text("".join(f"a dog {n}\n" for n in range(9)))
    data = {"kind": "parallel", "source": str(tmp_path / "de"), "target": str(tmp_path / "en")}
    model = {"kind": "original", "width": 16, "layers": 1, "heads": 2, "hidden": 24}
    changes = {"model": {**model, "context": 32}, "data": data, "format": "parallel", "objective": "seq2seq"}
    [shown] = preview(recipe(tmp_path, {**changes, "valid": 0})).run.batch
    source, note, begin, target = shown.pieces
    number = source.text[len("ein Hund ")]
    assert source == Piece(f"ein Hund {number}<|endoftext|>", READ) and "is to be made" in note.text
    assert (begin.mark, target) == (READ, Piece(f"a dog {number}<|endoftext|>", LEARNED))


def test_a_long_source_is_not_shown_in_silence(tmp_path):
    (tmp_path / "de").write_text("ein Hund " * 300 + "\n")
    (tmp_path / "en").write_text("a dog\n")
    data = {"kind": "parallel", "source": str(tmp_path / "de"), "target": str(tmp_path / "en")}
    model = {"kind": "original", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 3000}
    changes = {"model": model, "data": data, "format": "parallel", "objective": "seq2seq", "train.context": 3000}
    tokenizer = {"tokenizer": {"vocab_size": 260}}  # each byte a token: 2700 and the end
    [shown] = preview(recipe(tmp_path, {**changes, **tokenizer, "valid": 0})).run.batch
    assert shown.pieces[0].text == ("ein Hund " * 300)[:1500] and shown.pieces[1].text.endswith(" more tokens")


def test_classes_are_shown_by_name(tmp_path):
    rows = [{"text": f"the cat {n}", "label": ("bad", "good")[n % 2]} for n in range(10)]
    wrote(tmp_path, rows)
    report = preview(recipe(tmp_path, {"model": BERT, "objective": "classify", "valid": 0}))
    label = {row["text"]: row["label"] for row in rows}
    for shown in (*report.parts[0].examples, *report.run.batch):
        read = marked(shown, READ).removeprefix("<|endoftext|>").removesuffix("<|endoftext|>")
        assert shown.pieces[-1] == Piece(f"\n-- {label[read]} --", NOTE)
    assert "2 classes: 'bad' 5, 'good' 5" in report.run.notes


def test_tags_are_shown_word_by_word(tmp_path):
    wrote(tmp_path, [{"tokens": ["Ann", "runs"], "tags": ["NAME", "VERB"]}] * 6)
    [shown] = preview(recipe(tmp_path, {"model": BERT, "objective": "tag", "valid": 0})).run.batch
    assert [piece.text for piece in shown.pieces if piece.mark == NOTE] == ["→NAME ", "→VERB "]


def test_all_bad_rows_are_told_and_what_else_would_be_refused(tmp_path):
    wrote(tmp_path, [*talks(4), {"messages": []}, {"id": 1}])
    with (tmp_path / "data.jsonl").open("a") as file:
        file.write('{"messages": [\n')
    report = preview(recipe(tmp_path, {"valid": 0, "train.context": 64}))
    [part] = report.parts
    assert (part.rows, part.refused, part.documents) == (7, 3, 4)
    assert [fault.where[-2:] for fault in part.faults] == [":5", ":6", ":7"]
    assert [fault.must for fault in report.refused] == ["train.context must be at most the model's 32"]
    assert report.run is None and not (tmp_path / "run").exists()


def test_rows_that_a_filter_leaves_out_are_no_faults(tmp_path):
    """And rows to hold out are of the data's format, whatever else their fields may tell."""
    wrote(tmp_path, [{"text": "the cat", "note": 1}] * 3 + [{"text": "x"}])
    held = wrote(tmp_path, [{"text": "the cat", "label": "a"}, {"text": 1}], "held.jsonl")
    changes = {"filter": [{"kind": "length", "min": 2, "fields": ["text"]}], "valid": 0, "train.context": 64}
    report = preview(recipe(tmp_path, changes))
    assert [(part.rows, part.documents, part.refused) for part in report.parts] == [(3, 3, 0)]
    assert [fault.must for fault in report.refused] == ["train.context must be at most the model's 32"]
    changes = {"held_out": {"kind": "files", "path": str(held)}, "valid": 0}
    data, out = preview(recipe(tmp_path, changes)).parts
    assert (data.refused, out.format, out.documents, out.refused) == (0, "text", 1, 1)


def test_bad_rows_are_told_though_filters_cannot_be_applied(tmp_path):
    wrote(tmp_path, [{"text": "the cat"}] * 3)
    with (tmp_path / "data.jsonl").open("a") as file:
        file.write("no row\n")
    report = preview(recipe(tmp_path, {"filter": ["duplicates"], "valid": 0}))
    assert (report.parts[0].documents, report.parts[0].refused, report.refused) == (3, 1, [])
    assert any(note.startswith("no filter has left out any row here") for note in report.notes)


def test_too_long_documents_are_refused_where_they_are_read_whole(tmp_path):
    wrote(tmp_path, [{"text": "the cat " * 30, "label": "a"}, {"text": "a dog", "label": "b"}])
    report = preview(recipe(tmp_path, {"model": BERT, "objective": "classify", "valid": 0}))
    [fault] = report.refused
    where = f"{tmp_path}/data.jsonl:1, a document of the training data,"
    assert fault.must == f"{where} must have at most 32 tokens to fit into the context"
    assert report.parts[0].lengths["most"] == int(fault.found)
    dropped = preview(recipe(tmp_path, {"model": BERT, "objective": "classify", "valid": 0, "train.long": "drop"}))
    assert (dropped.parts[0].longer, dropped.parts[0].long, dropped.wrong) == (1, "drop", [])


def test_a_document_that_is_too_long_is_named_by_its_row_among_those_held_out_and_in_a_mixture(tmp_path):
    """Empty rows and those of the other side are no documents; so its number says nothing of its line."""
    rows = [{"text": f"the cat {n}", "label": "ab"[n % 2]} for n in range(40)]
    [first, *_] = [n for n, row in enumerate(rows) if part_of(Row(row, ""), 0.3) == "valid" and n > 5]
    classify = {"model": BERT, "objective": "classify", "valid": 0.3}
    for long in (first, next(n for n in range(first, 40) if part_of(Row(rows[n], ""), 0.3) == "train")):
        side = part_of(Row(rows[long], ""), 0.3)
        text = {"valid": "held-out", "train": "training"}[side]
        words = next(
            w
            for w in (f"{'the cat ' * 30}{n}" for n in range(99))
            if part_of(Row({"text": w, "label": "a"}, ""), 0.3) == side
        )
        changed = [*rows[:long], {"text": words, "label": "a"}, *rows[long + 1 :]]
        wrote(tmp_path, [{"text": "", "label": "a"}, *changed])
        [fault] = preview(recipe(tmp_path, classify, out=f"run{long}")).refused
        assert fault.must.startswith(
            f"{tmp_path}/data.jsonl:{long + 2}, a document of the {text} data, must have at most"
        )
    wrote(tmp_path, rows[:3], "a.jsonl")
    wrote(tmp_path, [*rows[:2], {"text": "the cat " * 30, "label": "a"}], "b.jsonl")
    parts = [{"data": {"kind": "files", "path": str(tmp_path / f"{name}.jsonl")}} for name in "ab"]
    given = recipe(tmp_path, classify | {"data": {"kind": "mixture", "parts": parts}, "valid": 0}, out="mixture")
    with pytest.raises(
        Refusal, match=r"b\.jsonl:3, a document of the training data, must have at most 32 tokens to fit"
    ):
        start.parts(given, claim(given))


def test_what_a_resume_would_refuse(tmp_path):
    given = recipe(tmp_path, {"train.steps": 1})
    run(given)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    going_on = preview(given)
    assert going_on.wrong == [] and f"going on from {tmp_path}/run/checkpoints/step-00000001, step 1" in (
        going_on.run.notes
    )
    [fault] = preview(recipe(tmp_path, {"train.steps": 2})).refused
    assert fault.found == "train.steps=2 (there: 1)"
    with (tmp_path / "data.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    [fault] = preview(given).refused
    assert fault.must.startswith("the data must be what ")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_a_tokenizer_on_a_part_is_said(chat, monkeypatch):
    assert not any("tokenizer" in note for note in preview(chat).notes)
    monkeypatch.setattr(module, "TRAINED_ON", 100)
    [said] = [note for note in preview(chat).notes if "tokenizer" in note]
    assert said.startswith("the tokenizer was trained on the first 100 characters of the data")


def test_the_tokenizer_is_the_one_of_the_run(tmp_path):
    given = recipe(tmp_path)
    looked = preview(given).parts[0]
    assert looked.tokens == start.parts(given, claim(given)).train.documents.counts.tokens


def test_a_warmup_that_never_ends_is_said(tmp_path):
    never = "the warmup of 4000 steps is longer than the run of 6: the rate never reaches train.lr"
    assert never in preview(recipe(tmp_path, {"train.schedule": "noam"})).run.notes
    assert not any("warmup" in note for note in preview(recipe(tmp_path, {"train.schedule.warmup": 6})).run.notes)


def test_the_run_by_its_data(chat):
    """Tokens of an epoch: each document's but its last. Steps: those of the recipe."""
    report = preview(chat)
    [part] = report.parts
    assert report.run.tokens_an_epoch == part.tokens - part.documents
    assert (report.run.steps, report.run.minutes, report.run.device) == (6, None, "cpu")
    assert report.run.least == pytest.approx(
        report.run.flops_a_token * report.run.tokens_a_step / report.run.peak / 1e9
    )


def test_frozen_parts_are_not_trained(tmp_path):
    whole = preview(recipe(tmp_path)).run
    part = preview(recipe(tmp_path, {"train.freeze": ["decoder"]})).run
    assert (part.parameters, whole.trained) == (whole.parameters, whole.parameters)
    assert part.trained == 300 * 16 and part.memory["gradients"] == 4 * part.trained


def test_activations_by_hand(tmp_path):
    """Twice the layers, and what they keep for the backward pass is twice as much, embedding and head apart."""
    kept = {n: activations(job(tmp_path, {"model.layers": n}, str(n))[0]) for n in (1, 2, 4)}
    assert kept[4] - kept[2] == 2 * (kept[2] - kept[1]) > 0
    less = activations(job(tmp_path, {"model.layers": 4, "train.recompute": True}, "recompute")[0])
    assert less < kept[4] / 2


def test_adamw_remembers_twice_the_weights(tmp_path):
    """And a number of steps for each of them, 4 bytes."""
    work, _ = job(tmp_path)
    sizes = [p.numel() for p in work.model.parameters()]
    assert remembered(work) == 8 * sum(sizes) + 4 * len(sizes)


@pytest.mark.parametrize("optim", ["adam", "adamw", "muon", "rmsprop", "sgd"])
def test_no_weight_is_moved(tmp_path, optim):
    work, _ = job(tmp_path, {"train.optim": optim})
    before = [parameter.detach().clone() for parameter in work.model.parameters()]
    found = cost(work, 96)
    assert found.seconds > 0 and set(found.memory) == {"weights", "gradients", "activations", "optimizer"}
    assert all((a == b).all() for a, b in zip(before, work.model.parameters(), strict=True))
    assert found.flops_a_token == train_flops(work.model, 32)


def test_what_does_not_fit_or_takes_too_long_is_not_tried(tmp_path, monkeypatch):
    work, _ = job(tmp_path)
    monkeypatch.setattr("viva.train.cost.PATIENCE", 0.0)
    assert cost(work, 96).seconds is None
    monkeypatch.setattr("viva.train.cost.available", lambda device: 1000)
    other, _ = job(tmp_path, out="other")
    assert cost(other, 96).seconds is None and not other.optimizer.state


def test_a_character_that_is_none_is_told_with_its_place_beside_all_other_bad_rows(tmp_path):
    """A run stops at the first, while its tokenizer is trained; of a field that no format reads it is found there."""
    wrote(tmp_path, [{"text": "a cat"}, {"text": "a\ud800"}, {"text": 3}, {"text": "a dog"}, {"text": "b\udfff"}])
    given = recipe(tmp_path, {"valid": 0})
    says = r"the field 'text' of \S*data\.jsonl:2 must have whole Unicode characters, but found a lone surrogate at ch"
    with pytest.raises(Refusal, match=says):
        run(given)
    [part] = preview(given).parts
    assert [fault.where.rsplit(":")[-1] for fault in part.faults] == ["2", "3", "5"] and part.refused == 3
    wrote(tmp_path, [{"text": "a cat"}, {"text": "a dog", "id": "\ud800"}])
    report = preview(recipe(tmp_path, {"valid": 0}, out="other"))
    assert [fault.must.partition(str(tmp_path))[0] for fault in report.refused] == ["the field 'id' of "]
    assert report.parts[0].documents == 2


@pytest.mark.parametrize("content", ["中文\n".encode("gb18030"), b'{"text": "a"\n'], ids=["GB18030", "ragged"])
def test_where_no_row_can_be_read_a_dry_run_says_what_the_run_says(tmp_path, content):
    """And not that the tokenizer, which is to be trained on them, lacks text."""
    (tmp_path / "d.jsonl").write_bytes(content)
    given = recipe(tmp_path, {"data.path": str(tmp_path / "d.jsonl")})
    with pytest.raises(Refusal, match=r"d\.jsonl:1 must be (UTF-8 text|a JSON object), but found ") as refused:
        run(given)
    assert preview(given).wrong == [str(refused.value)]


def test_a_dry_run_says_that_parallel_files_are_unequal(tmp_path):
    (tmp_path / "de").write_text("ein Hund\n" * 3)
    (tmp_path / "en").write_text("a dog\n" * 2)
    data = {"kind": "parallel", "source": str(tmp_path / "de"), "target": str(tmp_path / "en")}
    [said] = preview(recipe(tmp_path, {"data": data, "format": "parallel"})).wrong
    assert said.startswith(f"{tmp_path}/de and {tmp_path}/en must have the same number of lines, but found 3 and 2.")
