"""What --dry-run shows: the loss mask, the counts, whether the end is learned, the cost; and that nothing is left."""

import json

import pytest

from viva.train import start
from viva.train.cost import activations, cost
from viva.train.preview import ends, example, show
from viva.train.recipe import claim

from .runs import job, recipe

TALK = [{"role": "user", "content": "what is 1 + 1?"}, {"role": "assistant", "content": "2"}]


@pytest.fixture
def chat(tmp_path):
    """A recipe over ten conversations."""
    rows = [json.dumps({"messages": [*TALK[:1], {"role": "assistant", "content": f"it is {i}"}]}) for i in range(10)]
    (tmp_path / "data.jsonl").write_text("\n".join(rows))
    return recipe(tmp_path, {"format": "messages", "valid": 0, "train.context": 64, "model.context": 64})


def test_what_is_learned_is_green(chat, tmp_path):
    parts = start.parts(chat, claim(chat))
    shown = example(parts.train, 0, parts.tokenizer)
    green = "".join(shown.plain[span.start : span.end] for span in shown.spans if span.style == "green")
    dim = "".join(shown.plain[span.start : span.end] for span in shown.spans if span.style == "dim")
    assert green.startswith("it is ") and "<|im_end|>" in green and "what is 1 + 1?" in dim


def test_the_end_is_seen_to_be_learned_or_missed(chat, tmp_path):
    parts = start.parts(chat, claim(chat))
    assert ends(parts.train, parts.tokenizer) == "an end token is the last thing learned in 10 of 10 documents"

    class Endless:
        stops = frozenset()

    found = ends(parts.train, Endless())
    assert found.startswith("WARNING: an end token is the last thing learned in 0 of 10 documents")


def test_the_whole_preview_leaves_nothing_behind(chat, tmp_path, capsys):
    show(chat)
    said = capsys.readouterr().out
    for part in ("what is 1 + 1?", "training: 10 documents of 10 rows", "an end token", "memory: weights", "time: "):
        assert part in said
    assert not (tmp_path / "run").exists()


def test_a_warmup_that_never_ends_is_said(tmp_path, capsys):
    show(recipe(tmp_path, {"train.schedule": "noam"}))
    assert "the warmup of 4000 steps is longer than the run of 6: the rate never reaches train.lr" in (
        capsys.readouterr().out
    )
    show(recipe(tmp_path, {"train.schedule.warmup": 6}))
    assert "warmup" not in capsys.readouterr().out


def test_activations_by_hand(tmp_path):
    """Twice the layers, and what they keep for the backward pass is twice as much, embedding and head apart."""
    kept = {n: activations(job(tmp_path, {"model.layers": n}, str(n))[0]) for n in (1, 2, 4)}
    assert kept[4] - kept[2] == 2 * (kept[2] - kept[1]) > 0
    less = activations(job(tmp_path, {"model.layers": 4, "train.recompute": True}, "recompute")[0])
    assert less < kept[4] / 2


def test_adamw_remembers_twice_the_weights(tmp_path):
    work, _ = job(tmp_path)
    assert cost(work)[0].startswith("memory: weights 0.00 GiB")
    weights = sum(p.numel() for p in work.model.parameters())
    remembered = sum(t.numel() for memory in work.optimizer.state.values() for t in memory.values() if t.ndim)
    assert remembered == 2 * weights


def test_what_does_not_fit_is_not_tried(tmp_path, monkeypatch):
    work, _ = job(tmp_path)
    monkeypatch.setattr("viva.train.cost.available", lambda device: 1000)
    [said] = cost(work)
    assert said.startswith("WARNING: memory: ") and not work.optimizer.state
