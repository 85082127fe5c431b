"""The clipped policy gradient beside trl's, and what must hold of a round: exact batches, exact resuming, refusals."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch.nn.utils.rnn import pad_sequence
from trl import GRPOTrainer

from viva.align.kl import divergence
from viva.base.errors import Refusal
from viva.train import metrics
from viva.train.experience import Round
from viva.train.objective import grpo
from viva.train.run import run
from viva.train.step import update

from .playing import policy_job, policy_recipe, replies, tiny
from .runs import straight_and_resumed, weights

SIZES = (3, 1, 5, 2, 4, 4)
LONGEST = 6


def known(sizes, seed=1):
    """What a round knows of tokens: log-probabilities then and by a reference, advantages, all [n] for each reply."""
    draw = torch.Generator().manual_seed(seed)
    noise = lambda n: torch.randn(n, generator=draw, dtype=torch.float64)  # noqa: E731
    return {
        "old": [-3 + 0.3 * noise(n) for n in sizes],
        "reference": [-3 + 0.5 * noise(n) for n in sizes],
        "advantages": [noise(1).expand(n) for n in sizes],
    }


def twin(logs, entropies, told, config, loss_type):
    """The loss by trl's own function, on the log-probabilities [N, T] of padded replies."""
    padded = {name: pad_sequence(each, batch_first=True) for name, each in told.items()}
    mask = pad_sequence([torch.ones(n) for n in SIZES], batch_first=True)
    accelerator = SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x)
    low, high = config.clip
    trainer = SimpleNamespace(
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        accelerator=accelerator,
        model=SimpleNamespace(training=True),
        beta=config.beta,
        epsilon_low=low,
        epsilon_high=high,
        loss_type=loss_type,
        max_completion_length=LONGEST,
        current_gradient_accumulation_steps=1,
        importance_sampling_level="token",
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (logs, entropies, None),
    )
    inputs = {
        "prompt_ids": torch.zeros(len(SIZES), 1),
        "prompt_mask": torch.zeros(len(SIZES), 1),
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": torch.stack([each[0] for each in told["advantages"]]),
        "old_per_token_logps": padded["old"],
        "ref_per_token_logps": padded["reference"],
        "num_items_in_batch": mask.sum(),
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs), trainer._metrics["train"]


@pytest.mark.parametrize(("average", "loss_type"), [("sequence", "grpo"), ("token", "dapo"), ("constant", "dr_grpo")])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_loss_gradients_and_metrics_are_those_of_trl(average, loss_type, beta):
    rollout = {"max_new_tokens": LONGEST}
    fields = {"average": average, "beta": beta, "clip": (0.1, 0.25), "estimator": "k3"}
    config = grpo.Config(reward="interpreter", rollout=rollout, **fields)
    model, said, told = tiny(), replies(SIZES), known(SIZES)
    mine = told | {"weights": [config._weights(n).double() for n in SIZES]}
    batch = config._played(said, mine, list(range(len(SIZES))), pad=0)
    ours = config.build()(model, batch)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(ours.sum / batch.count, parameters)

    rows = [torch.tensor([*reply.prompt.ids, *reply.ids]) for reply in said]
    spread = [model(row[None, :-1])[0, 2:].log_softmax(-1) for row in rows]
    logs = pad_sequence(
        [each.gather(1, torch.tensor(reply.ids)[:, None])[:, 0] for each, reply in zip(spread, said, strict=True)],
        batch_first=True,
    )
    entropies = pad_sequence([-(each.exp() * each).sum(-1) for each in spread], batch_first=True).detach()
    theirs, measured = twin(logs, entropies, told, config, loss_type)
    torch.testing.assert_close(ours.sum / batch.count, theirs, rtol=1e-6, atol=1e-9)
    for mine, other in zip(gradients, torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)
    assert max(each.abs().max() for each in gradients) > 1e-3
    if average == "token":  # the mean that trl reports is over tokens
        clipped = ours.metrics["clip_fraction"] / batch.count
        assert clipped == pytest.approx(measured["clip_ratio/region_mean"][0], rel=1e-6) and 0.05 < clipped < 0.95
        spoken = [row[: len(reply.ids)].detach() for row, reply in zip(logs, said, strict=True)]
        if beta:
            found = config._measured(spoken, told["reference"])
            assert found["kl"] == pytest.approx(measured["kl"][0], rel=1e-6) and found["kl"] > 0.01


def updated(tmp_path, out, objective, **more):
    """The weights, and the record, after one round of plain descent."""
    plain = {"train.optim": {"kind": "sgd", "momentum": 0}, "train.lr": 0.1, "train.clip": 0}
    work, state = policy_job(tmp_path, {"kind": "grpo"} | objective, out, **plain, **more)
    record = update(work, state)
    return dict(work.model.named_parameters()), record


@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
def test_a_round_is_the_same_however_it_is_accumulated(tmp_path, average):
    whole, record = updated(tmp_path, "whole", {"average": average})
    parts, other = updated(tmp_path, "parts", {"average": average}, **{"train.batch": 1, "train.accumulate": 4})
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-5, atol=1e-7)
    for name in ("reward", "loss", "entropy", "clip_fraction", "length", "ended", "equal_groups"):
        assert record[name] == pytest.approx(other[name], abs=1e-6)
    before = policy_job(tmp_path, {"kind": "grpo"}, "before")[0].model
    assert not torch.equal(before.embedding.weight, whole["embedding.weight"])


def test_the_first_ratios_are_exactly_one(tmp_path):
    """Nothing is clipped, and the loss is minus the mean advantage: 0. The reference, the same weights in memory of
    their own, may round otherwise.
    """
    first = run(policy_recipe(tmp_path, {"kind": "grpo"}, "first", **{"train.steps": 1})).checkpoint
    held = {"kind": "grpo", "beta": 0.5, "clip": (1e-9, 1e-9)}
    _, record = updated(tmp_path, "held", held, model=None, tokenizer=None, init=str(first))
    assert record["clip_fraction"] == 0 and 0 <= record["kl"] < 1e-12
    assert record["loss"] == pytest.approx(0, abs=1e-6) and record["norm"] > 1e-3
    assert record["sampler_gap"] < 1e-5


@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
def test_replies_that_teach_nothing_are_not_read(average):
    """The loss and its gradient are those of all replies, by hand on the six, of which three have no advantage."""
    config = grpo.Config(reward="interpreter", rollout={"max_new_tokens": LONGEST}, average=average)
    model, said, told = tiny(), replies(SIZES), known(SIZES)
    for number in (0, 3, 4):
        told["advantages"][number] = torch.zeros(SIZES[number], dtype=torch.float64)
    weights = [config._weights(n).double() for n in SIZES]
    found = told | {"weights": weights}
    assert config._teaching(found) == [1, 2, 5]

    def loss(known, numbers):
        batch = config._played(said, known, numbers, pad=0)
        mean = config.build()(model, batch).sum / batch.count
        return mean, torch.autograd.grad(mean, list(model.parameters()))

    less, gradients = loss(found, [1, 2, 5])
    whole, others = loss(told | {"weights": weights}, range(len(SIZES)))
    torch.testing.assert_close(less, whole)
    for mine, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(mine, other)
    assert max(each.abs().max() for each in gradients) > 1e-3


def test_all_replies_are_read_where_divergence_has_a_price():
    """In the loss every reply has a gradient then; as part of the reward it is in the advantage."""
    told = {name: [torch.zeros(n) for n in SIZES] for name in ("advantages", "reference", "weights")}
    rollout = {"max_new_tokens": LONGEST}
    priced = grpo.Config(reward="interpreter", rollout=rollout, beta=0.1)
    assert priced._teaching(dict(told)) == list(range(len(SIZES)))
    assert grpo.Config(**priced.model_dump() | {"penalty": "reward"})._teaching(dict(told)) == []


def test_entropy_is_the_mean_surprise_at_what_was_drawn():
    """Of 2 and 1 tokens with surprises 1, 3 and 5: (2 + 5) / 2 by replies, 3 by tokens."""
    logs = [torch.tensor([-1.0, -3.0]), torch.tensor([-5.0])]
    for average, entropy in (("sequence", 3.5), ("token", 3.0)):
        config = grpo.Config(reward="interpreter", average=average)
        assert config._measured(logs, None) == {"entropy": pytest.approx(entropy)}


def test_later_updates_of_a_round_see_the_policy_move(tmp_path):
    """With plain descent at a rate this high the ratios leave the clip's range in the second epoch."""
    _, record = updated(tmp_path, "epochs", {"epochs": 3, "minibatches": 2, "clip": (1e-3, 1e-3)})
    assert 0.05 < record["clip_fraction"] < 1
    told = {"kind": "grpo", "epochs": 3, "minibatches": 2, "advantage": "reinforce_pp"}  # every reply teaches
    work, _ = policy_job(tmp_path, told, "counted")
    updates = list(work.data.updates(0))
    assert len(updates) == 6 and [sum(batch.count for batch in each) for each in updates] == [8] * 6
    learned = sorted(
        tuple(row) for each in updates[:2] for batch in each for row in batch.ids[0].split(batch.lengths[0])
    )
    again = sorted(
        tuple(row) for each in updates[2:4] for batch in each for row in batch.ids[0].split(batch.lengths[0])
    )
    assert learned == again and not torch.equal(updates[0][0].ids, updates[2][0].ids)


@pytest.mark.parametrize(("penalty", "usual"), [("loss", "k2"), ("reward", "k1")])
def test_the_usual_estimator_has_the_gradient_of_the_divergence(penalty, usual):
    """Of KL(p || q) by the logits of p, exactly: as a loss the mean of the estimate's gradient, from the reward that of
    the estimate times the gradient of log p.
    """
    logits = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64, requires_grad=True)
    logs, q = logits.log_softmax(0), torch.tensor([-0.2, 0.4, 0.1], dtype=torch.float64).log_softmax(0)
    [expected] = torch.autograd.grad((logs.exp() * (logs - q)).sum(), logits, retain_graph=True)
    estimator = grpo.Config(reward="interpreter", penalty=penalty, beta=0.1).estimator
    price = divergence(estimator, logs, q)
    loss = price if penalty == "loss" else price.detach() * logs
    [found] = torch.autograd.grad((logs.detach().exp() * loss).sum(), logits)
    torch.testing.assert_close(found, expected)
    assert estimator == usual
    assert grpo.Config(reward="interpreter", penalty=penalty, beta=0.1, estimator="k3").estimator == "k3"


def test_the_penalty_is_taken_from_the_reward_token_by_token():
    """By hand: logs -1, -2 beside -1.5, -1 of the reference give k1 = 0.5, -1, so with beta 0.1 penalties of 0.05,
    -0.1; REINFORCE++ sees 1 + 0.05, 1 + 0.1 to come, and for the other reply 0.
    """
    config = grpo.Config(
        reward="interpreter",
        advantage="reinforce_pp",
        beta=0.1,
        estimator="k1",
        penalty="reward",
        rollout={"replies": 2},
    )
    found = Round(replies((2, 1)), torch.tensor([[1.0, 0.0]]), [torch.tensor([-1.0, -2.0]), torch.tensor([-1.0])], 0)
    first, second = config._advantages(found, [torch.tensor([-1.5, -1.0]), torch.tensor([-1.0])])
    gains = torch.tensor([1.05, 1.1, 0.0])
    expected = (gains - gains.mean()) / (gains.std() + 1e-4)
    torch.testing.assert_close(torch.cat([first, second]), expected)


def test_killed_and_resumed_bit_for_bit(tmp_path, monkeypatch):
    begin = run(policy_recipe(tmp_path, {"kind": "grpo"}, "begin", **{"train.steps": 1})).checkpoint
    objective = {"kind": "grpo", "epochs": 2, "minibatches": 2, "beta": 0.1, "advantage": "rloo"}
    more = {"model": None, "tokenizer": None, "init": str(begin)}
    made = lambda out: policy_recipe(tmp_path, objective, out, **more)  # noqa: E731
    straight, resumed = straight_and_resumed(monkeypatch, made)
    assert resumed.finished
    whole, parts = weights(straight.folder, 6), weights(resumed.folder, 6)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    names = ("reward", "kl", "entropy", "clip_fraction", "length", "ended", "sampler_gap", "equal_groups", "loss")
    left, right = metrics.read(straight.folder), metrics.read(resumed.folder)
    assert [[record[name] for name in names] for record in left] == [
        [record[name] for name in names] for record in right
    ]


def test_a_policy_with_an_adapter_is_held_to_itself_without_it(tmp_path):
    begin = run(policy_recipe(tmp_path, {"kind": "grpo"}, "begin", **{"train.steps": 1})).checkpoint
    more = {"model": None, "tokenizer": None, "init": str(begin), "adapter": {"kind": "lora", "rank": 2}}
    work, state = policy_job(tmp_path, {"kind": "grpo", "beta": 0.1}, "adapted", **more)
    frozen = {name: p.clone() for name, p in work.model.named_parameters() if not p.requires_grad}
    records = [update(work, state) for _ in range(4)]
    assert records[0]["kl"] < 1e-12 and records[-1]["kl"] > 1e-9
    assert frozen and all(torch.equal(frozen[name], dict(work.model.named_parameters())[name]) for name in frozen)


def test_rewards_that_are_all_equal_are_said(tmp_path):
    constant = {"kind": "pattern", "regex": "^", "absent": False}
    _, record = updated(tmp_path, "equal", {"reward": constant})
    assert (record["reward"], record["equal_groups"], record["norm"]) == (1, 1, 0)
    assert updated(tmp_path, "unequal", {})[1]["equal_groups"] < 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"beta": -0.1}, "greater than or equal to 0"),
        ({"beta": 0.1, "estimator": "k1"}, "k1 must be taken from the reward: as a loss, its mean gradient is 0"),
        ({"reference": "runs/sft"}, "a policy that is held to a reference needs a beta above 0"),
        ({"rollout": {"replies": 1}}, "the advantage group needs 2 replies to a prompt, but rollout.replies is 1"),
        ({"clip": (0.0, 0.2)}, "clip must lead at most 1 below and anywhere above 1, but is 0 and 0.2"),
    ],
)
def test_what_cannot_be_learned_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        grpo.Config(reward="interpreter", **wrong)


def test_a_policy_that_came_from_nothing_has_no_reference(tmp_path):
    with pytest.raises(Refusal, match="the reference must be a model that was trained before"):
        policy_job(tmp_path, {"kind": "grpo", "beta": 0.1})


def test_a_reference_with_another_tokenizer_is_refused(tmp_path):
    other = run(policy_recipe(tmp_path, {"kind": "grpo"}, "other", **{"train.steps": 1, "tokenizer.vocab_size": 265}))
    with pytest.raises(Refusal, match=r"the reference .* needs its own tokenizer"):
        policy_job(tmp_path, {"kind": "grpo", "beta": 0.1, "reference": str(other.folder)})
