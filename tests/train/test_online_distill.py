"""On-policy distillation: what is learned of a student's own replies, and a run of it that goes on."""

import pytest
import torch
from torch.nn.functional import kl_div

from viva.train import metrics
from viva.train.run import run
from viva.train.step import update

from .playing import changes, policy_job, policy_recipe
from .runs import recipe, straight_and_resumed, weights

WIDE = {"kind": "llama", "width": 32, "layers": 2, "heads": 2, "kv_heads": 1, "hidden": 48, "context": 32}


def taught(folder, **fields):
    """The objective, with a teacher that has learned the true answers to the prompts."""
    if not (folder / "teacher").exists():
        answers = changes(folder, {}, **{"model": WIDE, "train.steps": 60})
        run(recipe(folder, answers | {"objective": "causal"}, "teacher"))
    return {"kind": "online_distill", "teacher": str(folder / "teacher"), **fields}


def test_the_replies_are_scored_by_both_at_each_of_their_tokens(tmp_path):
    """Reverse KL divergence by torch, of whole logits at the places where a token of a reply was drawn."""
    objective = taught(tmp_path)
    work, state = policy_job(tmp_path, objective, **{"tokenizer": str(tmp_path / "teacher")})
    found, [batches] = work.data.round(0), list(work.data.updates(0))
    assert sum(batch.count for batch in batches) == sum(len(reply.ids) for reply in found.replies)
    teacher, total = work.objective.teacher.model, 0.0
    with torch.no_grad():
        for reply in found.replies:
            ids = torch.tensor([[*reply.prompt.ids, *reply.ids]])
            drawn = slice(len(reply.prompt.ids) - 1, -1)
            q, p = (model(ids)[0, drawn].log_softmax(-1) for model in (work.model, teacher))
            total += kl_div(p, q, log_target=True, reduction="sum").item()
    record = update(work, state)
    assert record["soft"] == pytest.approx(total / sum(batch.count for batch in batches), rel=1e-4)
    assert record["loss"] == pytest.approx(record["soft"])


def test_a_student_comes_to_answer_as_its_teacher_does(tmp_path):
    """The teacher knows the answers, and the student hears none of them: of its most likely replies they become half
    at least.
    """
    objective = taught(tmp_path, reward={"kind": "pattern", "regex": "one|two|three|four"})
    sizes = {"model": WIDE, "tokenizer": str(tmp_path / "teacher"), "train.lr": 1e-2}
    work, state = policy_job(tmp_path, objective | {"rollout": {"replies": 8, "max_new_tokens": 6}}, **sizes)
    before = work.data.held_out()["reward"]
    first = update(work, state)
    for _ in range(60):
        last = update(work, state)
    assert before == 0 and work.data.held_out()["reward"] >= 0.5
    assert last["soft"] < 0.2 * first["soft"]


def test_stopped_and_resumed_bit_for_bit(tmp_path, monkeypatch):
    objective, more = taught(tmp_path), {"tokenizer": str(tmp_path / "teacher")}
    made = lambda out: policy_recipe(tmp_path, objective, out, **more)  # noqa: E731
    straight, resumed = straight_and_resumed(monkeypatch, made)
    whole, parts = weights(straight.folder, 6), weights(resumed.folder, 6)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    left, right = ([(r["soft"], r["length"]) for r in metrics.read(one.folder)] for one in (straight, resumed))
    assert left == right
