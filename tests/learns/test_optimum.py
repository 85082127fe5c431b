"""The best policy is found, the known compromise between reward and reference, exactly measured (toy.py; whole, with a
plot: benchmarks/optimum.py).
"""

from dataclasses import replace

import pytest
import torch

from .toy import METHODS, bandit, divergence


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return bandit(tmp_path_factory.mktemp("bandit"))


def test_no_policy_is_better_than_the_best(toy):
    """E r - beta KL is J* - beta KL(p || p*), whatever p is; the best policy reaches beta log Z."""
    total = (toy.reference + toy.rewards / toy.beta).logsumexp(0).item()
    assert toy.reference.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert toy.objective(toy.best()) == pytest.approx(toy.beta * total, rel=1e-5)
    draw = torch.Generator().manual_seed(0)
    for _ in range(5):
        noise = torch.randn(len(toy.replies), generator=draw, dtype=torch.float64)
        other = (toy.reference + noise).log_softmax(0)
        short = toy.beta * divergence(other, toy.best())
        assert toy.objective(other) == pytest.approx(toy.objective(toy.best()) - short, abs=1e-4)
        assert toy.efficiency(other) < 1


@pytest.mark.parametrize("name", ["online_dpo", "ppo", "dr_grpo", "rloo"])
def test_a_policy_comes_to_the_best(toy, name):
    method = replace(METHODS[name], train=METHODS[name].train | {"steps": 45})
    *_, last = toy.taught(name, method)
    assert toy.reached(last) >= 0.95 and divergence(last, method.known(toy)) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", "ipo"])
def test_pairs_of_the_reference_lead_to_the_best(toy, name):
    *_, last = toy.taught(name, METHODS[name])
    assert toy.reached(last) >= 0.95 and divergence(last, METHODS[name].known(toy)) < 0.05


def test_k3_as_a_loss_holds_to_the_reference_the_other_way_round(toy):
    """Its gradient is that of KL(p_ref || p), so with reward r the best policy is beta p_ref / (l - r), where l makes
    it sum to 1.
    """
    rloo = METHODS["rloo"]
    objective = rloo.objective | {"estimator": "k3", "penalty": "loss"}
    *_, last = toy.taught("k3", replace(rloo, objective=objective, train=rloo.train | {"steps": 60}))
    low, high = toy.rewards.max().item() + 1e-9, toy.rewards.max().item() + 10
    given = lambda level: toy.beta * toy.reference.exp() / (level - toy.rewards)  # noqa: E731
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if given(middle).sum() > 1 else (low, middle)
    assert divergence(last, given(high).log()) < 0.02 < divergence(last, toy.best())
