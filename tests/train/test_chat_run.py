"""A run on conversations: its template goes with it, and another one, be it by a space, is refused."""

import json
import re
from dataclasses import replace

import pytest
import torch

import viva
from viva.base.errors import Refusal
from viva.text.tokens.templates import named
from viva.train import start
from viva.train.run import run
from viva.train.step import update

from .runs import WORDS, job, recipe


def chats(folder, changes=None, out="run"):
    """A run of 3 steps on conversations, in `folder`/`out`."""
    pairs = [(a, b) for a in WORDS for b in WORDS[:4]]
    rows = [[{"role": "user", "content": f"{a} {b}"}, {"role": "assistant", "content": f"{b} {a}"}] for a, b in pairs]
    text = "".join(json.dumps({"messages": row}) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(text, encoding="utf-8")
    return recipe(folder, {"format": "messages", "train.steps": 3, **(changes or {})}, out)


def refuses(text):
    return pytest.raises(Refusal, match=re.escape(text))


def test_a_recipe_sets_a_template_by_name(tmp_path):
    given = chats(tmp_path, {"template": "llama3"})
    made = start.parts(given, tmp_path / "run")
    ids, mask = made.train.documents[0]
    said, learned = made.tokenizer.decode(ids.tolist()), made.tokenizer.decode(ids[mask].tolist())
    assert said.startswith("<|endoftext|><|start_header_id|>user<|end_header_id|>\n\n")
    assert said.endswith(f"<|start_header_id|>assistant<|end_header_id|>\n\n{learned}") and learned.endswith(
        "<|eot_id|>"
    )
    assert made.model.spec.vocab == made.tokenizer.vocab_size == 303


def test_a_template_that_changes_by_one_space_is_refused_at_resume(tmp_path, monkeypatch):
    given = chats(tmp_path, {"template": "llama3"})
    first = run(given)
    before = named("llama3")
    assert viva.load(first.folder).tokenizer.template == before.source
    changed = replace(before, source=before.source.replace("assistant<|end", "assistant <|end"))
    monkeypatch.setattr("viva.text.tokens.tokenizer.named", lambda name: changed)
    with refuses("step-00000003 needs its own tokenizer: its template must be"):
        start.parts(given, tmp_path / "run")


def test_a_file_with_a_template_that_changes_by_one_space_is_refused_at_resume(tmp_path):
    start.parts(chats(tmp_path), tmp_path / "other")
    folder = tmp_path / "other" / "tokenizer"
    given = chats(tmp_path, {"tokenizer": str(folder)})
    run(given)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, "chat_template": config["chat_template"] + " "})
    )
    with refuses("step-00000003 needs its own tokenizer: its template must be"):
        start.parts(given, tmp_path / "run")


def test_an_unknown_template_is_refused_with_the_nearest(tmp_path):
    says = "template: must be a chat template that comes with viva; use 'qwen3' (the nearest) or another of: alpaca"
    with refuses(says):
        chats(tmp_path, {"template": "qwen33"})


def test_a_template_whose_tokens_a_model_lacks_is_refused_until_either_way_that_is_named_is_gone(tmp_path):
    tuned = {"model": None, "init": str(run(chats(tmp_path)).checkpoint), "tokenizer": None}
    with refuses(
        "must have the special tokens of the chat template gemma, but found no <start_of_turn>, <end_of_turn>"
    ):
        start.parts(chats(tmp_path, {**tuned, "template": "gemma"}, "tuned"), tmp_path / "tuned")
    listed = ["<start_of_turn>", "<end_of_turn>"]
    added = """'add_tokens.special=["<start_of_turn>", "<end_of_turn>"]'"""
    ways = f"--special '<start_of_turn>' '<end_of_turn>' --out GROWN` and init=GROWN, or in this run by {added}; or"
    with refuses(f"grow the model by `viva tokenizer add {tuned['init']} {ways} leave `template` out."):
        start.parts(chats(tmp_path, {**tuned, "template": "gemma"}, "tuned"), tmp_path / "tuned")
    viva.load(tuned["init"]).grown(special=listed).save(tmp_path / "grown")  # as `viva tokenizer add` does
    for way in ({"add_tokens.special": listed}, {"init": str(tmp_path / "grown")}):
        made = start.parts(chats(tmp_path, {**tuned, **way, "template": "gemma"}, "tuned"), tmp_path / "tuned")
        assert made.tokenizer.template == named("gemma").source
        assert set(listed) < set(made.tokenizer.specials) and made.model.spec.vocab == made.tokenizer.vocab_size
    made = start.parts(chats(tmp_path, {**tuned, "template": "vicuna"}, "tuned"), tmp_path / "tuned")
    assert made.tokenizer.template == named("vicuna").source


def talks(folder):
    """Eight conversations of one to three turns, whose answers have from one word to twelve."""
    rows = []
    for number in range(8):
        turns = [(WORDS[(number + turn) % 13], WORDS[: 1 + (5 * number + turn) % 12]) for turn in range(1 + number % 3)]
        said = [(("user", asked), ("assistant", " ".join(answer))) for asked, answer in turns]
        rows.append([{"role": role, "content": content} for pair in said for role, content in pair])
    (folder / "data.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")


def test_eight_conversations_at_once_one_by_one_or_packed_are_the_same_steps(tmp_path):
    """Plain descent, whose steps are the gradients themselves, where what is learned of a conversation, the
    assistant's turns alone, is uneven; the first loss is the mean over these tokens, conversation by conversation.
    """
    talks(tmp_path)
    long = {"format": "messages", "valid": 0, "train.context": 1024, "model.context": 1024}
    descent = {"train.optim.kind": "sgd", "train.optim.momentum": 0, "train.lr": 1, "train.clip": 0}
    found = []
    for batch, accumulate, pack in ((8, 1, False), (1, 8, False), (1, 1, True)):
        shape = {"train.batch": batch, "train.accumulate": accumulate, "train.pack": pack}
        work, state = job(tmp_path, long | descent | shape, f"{batch}x{accumulate}-{pack}")
        first = mean_loss(work)
        batches = work.data.micro_batches(0)
        assert (len(batches), len(batches[0].lengths)) == (accumulate, batch)
        assert sum(len(row) for part in batches for row in part.lengths) == 8
        losses = [update(work, state)["loss"] for _ in range(3)]
        assert losses[0] == pytest.approx(first, rel=1e-6) and losses[2] < losses[0] - 0.1
        found.append((losses, dict(work.model.named_parameters())))
    for losses, parameters in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-6)
        for name, value in parameters.items():
            torch.testing.assert_close(value, found[0][1][name], rtol=1e-5, atol=1e-6)


def mean_loss(work):
    """Of all learned tokens of a run's documents, each document read alone."""
    lost, documents = [], work.data.documents
    for number in range(len(documents)):
        ids, mask = documents[number]
        logs = work.model(torch.tensor(ids.astype(int))[None])[0].log_softmax(-1)
        lost.append([-logs[place - 1, ids[place]].item() for place in range(1, len(ids)) if mask[place]])
    counts = [len(own) for own in lost]
    assert min(counts) * 4 < max(counts) and sum(counts) < 0.8 * sum(documents.lengths)
    return sum(map(sum, lost)) / sum(counts)
