"""PPO's loss beside NumPy and plain autograd; what a round knows, by hand; exact batches, exact resuming, refusals."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from viva.base.errors import Notice, Refusal
from viva.train import metrics
from viva.train.experience import Round
from viva.train.objective import _critic, ppo
from viva.train.run import run
from viva.train.step import update

from .playing import policy_job, policy_recipe, replies, tiny
from .runs import straight_and_resumed, weights

SIZES = (3, 1, 5, 2, 4, 4)
OWN = {"kind": "ppo", "critic": {"own": True}, "adaptive": {"target": 0.01}, "whiten_rewards": True, "minibatches": 2}


def settings(**fields):
    return ppo.Config(reward="interpreter", **fields)


def learner(config, model, seed=5):
    """The objective, with a critic that has learned something."""
    made = ppo.PPO(config, config.critic.build(model))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        made.critic.weight.copy_(0.3 * torch.randn(len(made.critic.weight), generator=draw))
        made.critic.bias.fill_(0.1)
    return made


def known(sizes, seed=1):
    """Numbers of tokens as a round might know them."""
    draw = torch.Generator().manual_seed(seed)
    noise = lambda n: torch.randn(n, generator=draw, dtype=torch.float64)  # noqa: E731
    found = {"old": [-3 + 0.3 * noise(n) for n in sizes]}
    return found | {name: [noise(n) for n in sizes] for name in ("values", "advantages", "returns")}


def spoken(model, reply):
    """The states in which a reply's tokens were drawn, and the logarithm of the distribution in each."""
    ids = torch.tensor([[*reply.prompt.ids, *reply.ids]])
    hidden = model.hidden(ids[:, :-1])[0, len(reply.prompt.ids) - 1 :]
    return hidden, model.logits(hidden).log_softmax(-1)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("value_clip", [None, 0.3])
def test_loss_metrics_and_gradients_written_out(own, value_clip):
    """The loss and the metrics in NumPy, token by token; the gradients by autograd of whole logits."""
    low, high, c1, c2 = 0.1, 0.25, 0.4, 0.05
    critic = {"own": own, "weight": c1, "clip": value_clip}
    config, model = settings(clip=(low, high), entropy=c2, critic=critic), tiny()
    said, told, objective = replies(SIZES), known(SIZES), learner(settings(critic=critic), tiny())
    objective.config = config
    ours = objective(model, config._played(said, told, list(range(len(SIZES))), pad=0))
    learned = [*model.parameters(), *(p for p in objective.parameters() if p.requires_grad)]
    gradients = torch.autograd.grad(ours.sum, learned, allow_unused=True)

    total, expected = 0.0, {"loss": 0.0, "entropy": 0.0, "clip_fraction": 0.0, "value_loss": 0.0, "approx_kl": 0.0}
    for n, reply in enumerate(said):
        states, spread = spoken(model, reply)
        logs = spread.gather(1, torch.tensor(reply.ids)[:, None])[:, 0]
        entropies = -(spread.exp() * spread).sum(1)
        read = spoken(objective.critic.trunk, reply)[0] if own else states
        values = read @ objective.critic.weight + objective.critic.bias
        old, before, advantages, returns = (told[name][n] for name in ("old", "values", "advantages", "returns"))
        ratio = (logs - old).exp()
        surrogate = torch.min(ratio * advantages, ratio.clip(1 - low, 1 + high) * advantages)
        error = (values - returns) ** 2
        if value_clip:
            error = torch.max(error, (before + (values - before).clip(-value_clip, value_clip) - returns) ** 2)
        total = total + (-surrogate + c1 * error - c2 * entropies).sum()
        for t in range(SIZES[n]):
            A, V, V0, R, rho = (x[t].item() for x in (advantages, values, before, returns, ratio))
            H = -sum(p * math.log(p) for p in spread[t].exp().tolist())
            wide = (V - R) ** 2
            held = (np.clip(V, V0 - value_clip, V0 + value_clip) - R) ** 2 if value_clip else wide
            expected["loss"] += -min(rho * A, np.clip(rho, 1 - low, 1 + high) * A) + c1 * max(wide, held) - c2 * H
            expected["value_loss"] += max(wide, held)
            expected["entropy"] += H
            expected["clip_fraction"] += rho > 1 + high if A > 0 else rho < 1 - low
            expected["approx_kl"] += rho - 1 - math.log(rho)
    assert ours.count == sum(SIZES) and ours.sum.item() == pytest.approx(expected.pop("loss"), rel=1e-9)
    assert ours.metrics == pytest.approx(expected, rel=1e-9) and 0 < expected["clip_fraction"] < ours.count
    for mine, plain in zip(gradients, torch.autograd.grad(total, learned, allow_unused=True), strict=True):
        assert (mine is None) == (plain is None)
        if mine is not None:
            torch.testing.assert_close(mine, plain, rtol=1e-6, atol=1e-9)
    assert max(each.abs().max() for each in gradients if each is not None) > 1e-2


def test_the_clipped_objective_by_hand():
    """Figure 1 of the paper: at A > 0 the ratio counts up to 1 + high, at A < 0 down to 1 - low."""
    ratios, advantages = torch.tensor([1.5, 0.5, 1.5, 0.5]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    config, zero = settings(), torch.zeros(4)
    torch.testing.assert_close(config.surrogate(ratios.log(), zero, advantages), torch.tensor([1.2, 0.5, -1.5, -0.8]))
    assert config.is_clipped(ratios.log(), zero, advantages).tolist() == [True, False, False, True]


def test_the_loss_of_values_by_hand():
    """A value that moved from 0 to 0.5 on its way to 1 counts as 0.2: (0.2 - 1)^2; one that moved away as it is."""
    values, old, returns = torch.tensor([0.5, -0.5]), torch.zeros(2), torch.ones(2)
    torch.testing.assert_close(_critic.Config().losses(values, old, returns), torch.tensor([0.64, 2.25]))
    torch.testing.assert_close(_critic.Config(clip=None).losses(values, old, returns), torch.tensor([0.25, 2.25]))


def what_is_known(monkeypatch, **fields):
    """Of two replies worth 1 and 0, the second cut, whose states are worth 0.5, 0.2 and 0.1."""
    said = replies((2, 1))
    said[1] = type(said[1])(**{**vars(said[1]), "ended": False})
    found = Round(said, torch.tensor([[1.0, 0.0]]), [torch.tensor([-1.0, -2.0]), torch.tensor([-1.0])], 0)
    objective = learner(settings(**fields), tiny())
    values = [torch.tensor([0.5, 0.2]), torch.tensor([0.1])]
    monkeypatch.setattr(objective, "values", lambda policy, found: values)
    return objective.known(found, None, [torch.tensor([-1.5, -1.0]), torch.tensor([-1.0])]), found, objective


def test_what_a_round_knows_by_hand(monkeypatch):
    """k1 = 0.5, -1, 0 and beta 0.1 give the rewards -0.05, 1.1 and, cut, -0.3; with gamma 0.9 and lambda 0.5
    delta = -0.05 + 0.18 - 0.5 = -0.37, 0.9 and -0.4, A = -0.37 + 0.45 * 0.9 = 0.035, 0.9, -0.4.
    """
    fields = {"beta": 0.1, "gamma": 0.9, "lam": 0.5, "cut": 0.3, "whiten_advantages": False}
    told, found, _ = what_is_known(monkeypatch, **fields)
    assert torch.cat(told["advantages"]).tolist() == pytest.approx([0.035, 0.9, -0.4])
    assert torch.cat(told["returns"]).tolist() == pytest.approx([0.535, 1.1, -0.3])
    returns, advantages = [0.535, 1.1, -0.3], [0.035, 0.9, -0.4]
    assert found.measured["explained_variance"] == pytest.approx(1 - np.var(advantages) / np.var(returns))
    assert found.measured["kl"] == pytest.approx(-0.5 / 3) and found.measured["kl_coefficient"] == 0.1
    white, _, _ = what_is_known(monkeypatch, **fields | {"whiten_advantages": True})
    expected = (np.array(advantages) - np.mean(advantages)) / np.std(advantages)
    assert torch.cat(white["advantages"]).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert torch.cat(white["returns"]).tolist() == pytest.approx(returns)


def test_beta_follows_the_divergence(monkeypatch):
    """Of (0.5 - 1 + 0) / 2 = -0.25 nats a reply: far below the target, so e = -0.2 and beta falls by 0.1 * 0.2."""
    _, _, objective = what_is_known(monkeypatch, beta=0.1, adaptive={"target": 1.0})
    assert objective.beta.item() == pytest.approx(0.1 * 0.98)
    factor = ppo.Adaptive(target=4.0, gain=0.5).factor
    assert [factor(torch.tensor(kl)).item() for kl in (4.4, 4.0, 40.0)] == pytest.approx([1.05, 1.0, 1.1])


def test_rewards_are_whitened_by_those_of_all_rounds(monkeypatch):
    """1 and 0 have the mean 0.5 and the deviation 0.5: the scores become 1 and -1."""
    plain = {"beta": 0.0, "whiten_advantages": False, "lam": 1.0, "whiten_rewards": True}
    told, _, objective = what_is_known(monkeypatch, **plain)
    assert torch.cat(told["returns"]).tolist() == pytest.approx([1.0, 1.0, -1.0], rel=1e-3)
    assert objective.scores.count == 2


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """What a run of a policy begins with."""
    checkpoint = run(
        policy_recipe(tmp_path_factory.mktemp("begin"), {"kind": "grpo"}, "begin", **{"train.steps": 1})
    ).checkpoint
    return {"model": None, "tokenizer": None, "init": str(checkpoint)}


def updated(tmp_path, out, objective, **more):
    """The weights, and the record, after one round of plain descent."""
    plain = {"train.optim": {"kind": "sgd", "momentum": 0}, "train.lr": 0.1, "train.clip": 0}
    work, state = policy_job(tmp_path, {"kind": "ppo"} | objective, out, **plain, **more)
    record = update(work, state)
    return dict(work.learned.named_parameters()), record


@pytest.mark.parametrize("own", [False, True])
def test_a_round_is_the_same_however_it_is_accumulated(tmp_path, begun, own):
    objective = {"critic": {"own": own}, "epochs": 2}
    whole, record = updated(tmp_path, "whole", objective, **begun)
    parts, other = updated(tmp_path, "parts", objective, **begun, **{"train.batch": 1, "train.accumulate": 4})
    assert whole.keys() == parts.keys() and "objective.critic.weight" in whole
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-5, atol=1e-6)
    for name in ("reward", "loss", "entropy", "value_loss", "kl", "approx_kl", "explained_variance"):
        assert record[name] == pytest.approx(other[name], abs=1e-5)
    assert whole["objective.critic.weight"].abs().max() > 0


def test_the_first_ratios_are_one_but_for_rounding(tmp_path, begun):
    _, record = updated(tmp_path, "first", {"epochs": 1}, **begun)
    assert record["approx_kl"] < 1e-12 and abs(record["kl"]) < 1e-6
    assert record["norm"] > 1e-3


def test_the_critic_has_a_rate_of_its_own(tmp_path, begun):
    """Of plain descent, whose steps are as long as the rate: the critic's 10 times as long, the policy's the same."""
    plain, _ = updated(tmp_path, "plain", {"epochs": 1}, **begun)
    faster, _ = updated(tmp_path, "faster", {"epochs": 1}, **begun, **{"train.rates": {"objective.critic": 10.0}})
    for name in plain:
        own = name.startswith("objective.critic.")
        torch.testing.assert_close(faster[name], plain[name] * (10 if own else 1), msg=name)  # a critic begins at 0
    assert plain["objective.critic.weight"].abs().max() > 0


def test_a_round_stops_where_the_policy_has_moved_too_far(tmp_path, begun):
    """The first update of a round finds the policy where it was; the second finds it moved, and is the last."""
    assert updated(tmp_path, "all", {"epochs": 5}, **begun)[1]["updates"] == 5
    _, record = updated(tmp_path, "stopped", {"epochs": 5, "stop": 1e-9}, **begun)
    assert record["updates"] == 2 and record["approx_kl"] > 1e-9 / 2


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, monkeypatch, begun):
    made = lambda out: policy_recipe(tmp_path, OWN, out, **begun)  # noqa: E731
    straight, resumed = straight_and_resumed(monkeypatch, made)
    for file in ("model.safetensors", "objective.safetensors", "optimizer.safetensors"):
        whole, parts = weights(straight.folder, 6, file), weights(resumed.folder, 6, file)
        assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)
    assert whole.keys() >= {"objective.critic.weight/exp_avg"}
    kept = weights(straight.folder, 6, "objective.safetensors")
    assert kept["beta"] != 0.05 and kept["scores.count"] == 6 * 16
    names = ("reward", "kl", "kl_coefficient", "entropy", "value_loss", "explained_variance", "approx_kl", "length")
    left, right = ([[r.get(name) for name in names] for r in metrics.read(one.folder)] for one in (straight, resumed))
    assert left == right


def test_rewards_that_are_all_equal_are_said(tmp_path, begun):
    with pytest.warns(Notice, match="all 16 replies of a round are worth 1: nothing tells a good one"):
        updated(tmp_path, "equal", {"reward": {"kind": "pattern", "regex": "^"}}, **begun)


def test_a_reward_that_is_not_a_number_is_refused(tmp_path, begun):
    work, state = policy_job(tmp_path, {"kind": "ppo"}, "nan", **begun)
    work.data.judge = lambda replies: [math.nan] * len(replies)
    with pytest.raises(Refusal, match=r"a reward must be a finite number from .*, but found nan for the reply"):
        update(work, state)


@pytest.mark.parametrize("objective", [{"kind": "ppo"}, {"kind": "grpo", "advantage": "rloo", "average": "constant"}])
def test_the_largest_reward_that_is_taken_can_be_learned_from(tmp_path, begun, objective):
    work, state = policy_job(tmp_path, objective, "large", **begun)
    work.data.judge = lambda replies: [1e9 * (-1) ** n for n, _ in enumerate(replies)]
    for _ in range(3):
        record = update(work, state)
    assert all(math.isfinite(record[name]) for name in ("loss", "norm", "reward_error")) and record["norm"] > 1e7
    work.data.judge = lambda replies: [1e20] * len(replies)
    with pytest.raises(Refusal, match=r"from -1e\+09 to 1e\+09, but found 1e\+20 for the reply"):
        update(work, state)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"beta": -0.1}, "greater than or equal to 0"),
        ({"beta": 0.0, "adaptive": {}}, "a beta that adapts must begin above 0"),
        ({"beta": 0.0, "reference": "runs/sft"}, "a policy that is held to a reference needs a beta above 0"),
        ({"critic": {"weight": -1.0}}, "greater than or equal to 0"),
        ({"clip": (1.5, 0.2)}, "clip must lead at most 1 below and anywhere above 1, but is 1.5 and 0.2"),
        ({"stop": 0.0}, "greater than 0"),
    ],
)
def test_what_cannot_be_learned_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        settings(**wrong)


def test_a_reference_with_another_tokenizer_is_refused(tmp_path, begun):
    other = run(policy_recipe(tmp_path, {"kind": "grpo"}, "other", **{"train.steps": 1, "tokenizer.vocab_size": 265}))
    with pytest.raises(Refusal, match=r"the reference .* needs its own tokenizer"):
        policy_job(tmp_path, {"kind": "ppo", "reference": str(other.folder)}, **begun)
