"""What documents ask, and what rounds teach: best of n, preferences between a policy's own replies, nothing at all."""

import json
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from viva.align.rollout import Rollout
from viva.base.errors import Refusal
from viva.text.cache.documents import build
from viva.text.rows.corpus import files
from viva.text.rows.format import ask, messages, preference
from viva.text.rows.format import prompt as prompts
from viva.text.rows.row import Row
from viva.text.talk import chat
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.templates import names
from viva.train import cost, metrics
from viva.train.evaluation import evaluate
from viva.train.experience import Round
from viva.train.objective import online_dpo, raft
from viva.train.prompts import answered, prompt
from viva.train.run import run
from viva.train.step import update

from .playing import PROMPTS, policy_job, policy_recipe, replies, tiny
from .runs import stop_after, weights


@pytest.mark.parametrize(
    ("mask", "where"),
    [([0, 0, 1, 1], (2, 4)), ([0, 1, 0, 1, 1, 0], (3, 5)), ([0, 0, 0], (3, 3)), ([1, 1], (0, 2)), ([1, 0, 1], (2, 3))],
)
def test_the_last_learned_stretch_is_the_answer(mask, where):
    assert answered(np.array(mask, bool)) == where


def test_a_conversation_is_asked_up_to_its_last_reply(tmp_path):
    talk = [("user", "Hi."), ("assistant", "Hello!"), ("user", "A cat?"), ("assistant", "A dog.")]
    talk = [{"role": role, "content": words} for role, words in talk]
    rows = [{"messages": talk, "prompt": talk[:3]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tokenizer = byte_bpe.Config(vocab_size=280).learn(["a cat sees a dog"] * 4)
    data = files.Config(path=str(tmp_path / "rows.jsonl"))
    asked = prompt(build(data, messages.Config(), tokenizer, tmp_path), 0, tokenizer)
    assert asked.ids == chat.render(tokenizer, talk[:3], reply=True).ids and asked.answer == "A dog."
    answer = [*tokenizer.encode("A dog."), tokenizer.id("<|im_end|>")]
    assert [*asked.ids, *answer, *asked.tail] == chat.render(tokenizer, talk).ids and asked.tail
    alone = prompt(build(data, ask.Config(), tokenizer, tmp_path), 0, tokenizer)
    assert (alone.ids, alone.text, alone.answer) == (asked.ids, asked.text, "")


@pytest.mark.parametrize("template", [*names(), None])
def test_a_reward_model_reads_prompt_and_reply_as_it_was_trained(tmp_path, template):
    """Behind a reply stands what stood behind a chosen answer, wherever the prompt comes from: rows that ask, rows that
    answer, and conversations that go on behind the answer.
    """
    tokenizer = byte_bpe.Config(vocab_size=280).learn(["a cat sees a dog"] * 4)
    tokenizer = tokenizer if template is None else tokenizer.with_template(template)
    talk = [{"role": role, "content": words} for role, words in (("user", "A cat?"), ("assistant", "A dog."))]
    more = [{"role": "user", "content": "Why?"}]
    row = {"prompt": "A cat?", "chosen": "A dog.", "rejected": "No.", "messages": talk, "longer": talk + more}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    data, plain = files.Config(path=str(tmp_path / "rows.jsonl")), template is None
    pair = preference.Config(plain=plain).example(Row(row, "d:1"), tokenizer)
    trained, learned = pair.ids[: pair.cut], pair.mask[: pair.cut]
    answer = [number for number, is_learned in zip(trained, learned, strict=True) if is_learned]
    talks = [messages.Config(), messages.Config(field="longer")]
    answers = [prompts.Config(completion="chosen")] if plain else talks
    for form in (ask.Config(plain=plain), *answers):
        asked = prompt(build(data, form, tokenizer, tmp_path), 0, tokenizer)
        assert [*asked.ids, *answer, *asked.tail] == trained, form


def test_prompts_without_a_template(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a cat"}\n', encoding="utf-8")
    tokenizer = byte_bpe.Config(vocab_size=280).learn(["a cat sees a dog"] * 4)
    documents = build(files.Config(path=str(tmp_path / "rows.jsonl")), ask.Config(plain=True), tokenizer, tmp_path)
    assert prompt(documents, 0, tokenizer).ids == [tokenizer.bos_id, *tokenizer.encode("a cat")]


def test_every_prompt_is_asked_once_an_epoch(tmp_path):
    work, _ = policy_job(tmp_path, {"kind": "raft"}, **{"train.batch": 2})
    asked = [reply.prompt.text for step in range(2) for reply in work.data.round(step).replies]
    assert sorted(asked) == sorted(f"{text}:" for text in PROMPTS for _ in range(4))
    again = work.data.round(1)
    assert [reply.ids for reply in again.replies] == [reply.ids for reply in work.data.round(1).replies]
    assert again.replies[0].prompt.answer in ("one", "two", "three", "four")


def test_a_prompt_that_leaves_no_room_for_a_reply_is_refused(tmp_path):
    short = {"rollout": {"replies": 2, "max_new_tokens": 28}}
    with pytest.raises(Refusal, match=r"the prompt of .*asked.jsonl:\d, .* must have at most 4 tokens"):
        policy_job(tmp_path, {"kind": "raft"} | short, **{"train.long": "refuse"})


def test_text_without_prompts_is_refused(tmp_path):
    with pytest.raises(Refusal, match="a document must begin with a prompt to be replied to, but found 60 of 60"):
        policy_job(
            tmp_path, {"kind": "raft"}, data={"kind": "files", "path": str(tmp_path / "data.jsonl")}, format="text"
        )


def test_a_step_takes_as_long_as_its_whole_round(tmp_path, monkeypatch):
    """Told by a record, with the share of drawing replies, and by a dry run."""
    drawn = Rollout.drawn

    def slowly(*given):
        time.sleep(0.4)
        return drawn(*given)

    monkeypatch.setattr(Rollout, "drawn", slowly)
    [record, _] = metrics.read(run(policy_recipe(tmp_path, {"kind": "grpo"}, **{"train.steps": 2})).folder)
    assert 0.4 < record["sampling_seconds"] < record["seconds"]
    assert record["sampling_share"] == pytest.approx(record["sampling_seconds"] / record["seconds"])
    work, _ = policy_job(tmp_path, {"kind": "ppo", "epochs": 2, "beta": 0}, "dry")
    made, passes = [], work.objective.forward
    monkeypatch.setattr(work.objective, "forward", lambda *given: made.append(passes(*given)) or made[-1])
    assert 0.4 < cost.seconds(work) < 2
    assert len(made) == 2 * cost.TIMED  # of each round both updates


def given_round(rewards):
    rewards = torch.tensor(rewards)
    said = replies([2 + i % 3 for i in range(rewards.numel())])
    return Round(said, rewards, [torch.zeros(len(reply.ids)) for reply in said], 0)


class Seen:
    """What `lessons` needs of a policy."""

    size, pad = 6, 0


def documents_of(batches):
    return [row.tolist() for batch in batches for row in batch.ids[0].split(batch.lengths[0])]


def read(reply):
    return [*reply.prompt.ids, *reply.ids][:-1]


def test_the_best_of_each_prompt_is_learned():
    found = given_round([[0.0, 2.0, 1.0], [0.5, 0.1, 0.2], [0.0, 0.0, 0.0]])
    lessons = raft.Config(reward="interpreter").lessons(Seen, None)
    [batches] = lessons(found)
    assert documents_of(batches) == [read(found.replies[place]) for place in (1, 3, 6)]
    assert sum(batch.count for batch in batches) == sum(len(found.replies[place].ids) for place in (1, 3, 6))
    [batches] = raft.Config(reward="interpreter", least=1.0).lessons(Seen, None)(found)
    assert documents_of(batches) == [read(found.replies[1])]
    assert not list(raft.Config(reward="interpreter", least=3.0).lessons(Seen, None)(found))
    thrice = list(raft.Config(reward="interpreter", least=1.0, epochs=3).lessons(Seen, None)(found))
    assert [documents_of(batches) for batches in thrice] == 3 * [[read(found.replies[1])]]


def test_the_best_is_preferred_to_the_worst():
    found = given_round([[0.0, 2.0, 1.0], [0.3, 0.3, 0.3], [0.5, 0.1, 0.2]])
    [batches] = online_dpo.Config(reward="interpreter").lessons(Seen, None)(found)
    assert documents_of(batches) == [read(found.replies[place]) for place in (1, 0, 6, 7)]
    assert sum(batch.count for batch in batches) == 2
    assert not list(online_dpo.Config(reward="interpreter").lessons(Seen, None)(given_round([[1.0, 1.0]])))


@pytest.mark.parametrize("judge", ["best", "bradley_terry"])
def test_a_reply_is_not_preferred_to_its_equal(judge):
    """Rewards of a model that reads in batches differ in the last place for one and the same reply."""
    found = given_round([[0.5, 0.5 + 1e-6], [0.0, 1.0]])
    found.replies[1] = found.replies[0]
    [batches] = online_dpo.Config(reward="interpreter", judge=judge).lessons(Seen, None)(found)
    told = documents_of(batches)
    assert len(told) == 2 and sorted(told) == sorted(read(found.replies[place]) for place in (2, 3))
    found.replies[3] = found.replies[2]
    assert not list(online_dpo.Config(reward="interpreter", judge=judge).lessons(Seen, None)(found))


def test_of_two_replies_each_is_preferred_as_often_as_their_rewards_say():
    """1 / (1 + e^-1) = 0.7311, within 4 standard errors of 4,000 pairs; and no difference is too large."""
    judge = online_dpo.Config(reward="interpreter", judge="bradley_terry")
    found = given_round([[1.0, 0.0]] * 4000)
    [batches] = judge.lessons(Seen, None)(found)
    first = [read(reply) for reply in found.replies[0::2]]
    assert sum(one == chosen for one, chosen in zip(first, documents_of(batches)[0::2], strict=True)) / 4000 == (
        pytest.approx(0.7311, abs=4 * (0.7311 * 0.2689 / 4000) ** 0.5)
    )
    far = given_round([[0.0, 1e6], [1e6, 0.0], [-800.0, -90.0]])
    [batches] = judge.lessons(Seen, None)(far)
    assert documents_of(batches) == [read(far.replies[place]) for place in (1, 0, 2, 3, 5, 4)]


def test_the_loss_of_a_policy_that_has_not_moved_is_that_of_a_coin():
    """log 2 a pair, and by hand: with beta 0.1 and ratios 2 and -1 log(1 + exp(-0.3))."""
    found, model = given_round([[0.0, 1.0], [0.7, 0.2]]), tiny()
    [[batch]] = online_dpo.Config(reward="interpreter").lessons(Seen, None)(found)
    objective = online_dpo.Config(reward="interpreter", reference=None).build()
    measured = objective(model, batch).metrics
    objective.reference = lambda batch, spoken: logs
    logs = torch.stack(
        [
            model(torch.tensor([read(reply)]))[0, 2:].log_softmax(-1).gather(1, torch.tensor(reply.ids)[:, None]).sum()
            for reply in (found.replies[place] for place in (1, 0, 2, 3))
        ]
    ).detach()
    assert measured["chosen_log_prob"] == pytest.approx((logs[0] + logs[2]).item())
    assert objective(model, batch).sum.item() == pytest.approx(2 * np.log(2), rel=1e-6)
    logs = logs - torch.tensor([2.0, -1.0, 2.0, -1.0])
    assert objective(model, batch).sum.item() == pytest.approx(2 * 0.55435524, rel=1e-6)


def test_a_round_that_teaches_nothing_is_said_and_changes_nothing(tmp_path):
    work, state = policy_job(tmp_path, {"kind": "raft", "least": 1.0})
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    record = update(work, state)
    assert record["skipped"] == "nothing to learn in this step" and state.step == 1 and record["reward"] < 0
    assert all(torch.equal(before[name], value) for name, value in work.model.named_parameters())


@pytest.mark.parametrize(("reward", "least"), [(0.9, 0.9), (0.7 + 0.2, 0.9), (-0.1 * 3, -0.3)])
def test_a_reward_of_just_the_least_is_learned(tmp_path, reward, least):
    work, state = policy_job(tmp_path, {"kind": "raft", "least": least})
    work.data.judge = lambda replies: [reward] * len(replies)
    record = update(work, state)
    assert "skipped" not in record and record["reward"] == pytest.approx(reward, abs=1e-15)


def test_rewards_are_kept_as_they_were_given(tmp_path):
    work, _ = policy_job(tmp_path, {"kind": "raft"}, **{"objective.truth": "number"})
    work.data.judge = work.data.truth = lambda replies: [0.1 * place for place in range(len(replies))]
    found = work.data.round(0)
    assert found.rewards.flatten().tolist() == found.truths.flatten().tolist() == [0.1 * place for place in range(16)]


@pytest.mark.parametrize("kind", ["online_dpo", "raft"])
def test_killed_and_resumed_bit_for_bit(tmp_path, monkeypatch, kind):
    begin = run(policy_recipe(tmp_path, {"kind": "raft"}, "begin", **{"train.steps": 1})).checkpoint
    more = {"model": None, "tokenizer": None, "init": str(begin), "train.steps": 4}
    straight = run(policy_recipe(tmp_path, {"kind": kind}, "straight", **more))
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert not run(policy_recipe(tmp_path, {"kind": kind}, "parts", **more)).finished
    resumed = run(policy_recipe(tmp_path, {"kind": kind}, "parts", **more))
    whole, parts = weights(straight.folder, 4), weights(resumed.folder, 4)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert [r["reward"] for r in metrics.read(straight.folder)] == [r["reward"] for r in metrics.read(resumed.folder)]


def test_held_out_prompts_are_judged_by_the_likeliest_replies(tmp_path):
    held_out = {"kind": "files", "path": str(tmp_path / "asked.jsonl")}
    work, _ = policy_job(tmp_path, {"kind": "raft"}, held_out=held_out)
    found = evaluate(work)
    said = work.data.policy.rollout.likeliest(
        work.model.eval(), work.data.policy.tokenizer, work.valid._prompts(work.valid.prompts.spans)
    )
    reward = np.mean([-0.01 * abs(len(reply.ids) - 1) for reply in said])
    assert found["valid_reward"] == pytest.approx(reward) and found["valid_loss"] == -found["valid_reward"]
    assert set(found) == {"valid_loss", "valid_reward", "valid_length", "valid_ended"}


def test_a_preference_needs_two_replies():
    with pytest.raises(ValidationError, match=r"rollout\.replies must be 2 at least, for one reply to be preferred"):
        online_dpo.Config(reward="interpreter", rollout={"replies": 1})
    with pytest.raises(ValidationError, match="must be even where the judge is bradley_terry"):
        online_dpo.Config(reward="interpreter", rollout={"replies": 3}, judge="bradley_terry")
