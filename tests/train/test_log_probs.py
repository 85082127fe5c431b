"""Log-probabilities and losses of them, made a few rows at a time, against autograd of the whole logits."""

import pytest
import torch

from viva.train.loss.log_probs import log_probs, through_log_probs

GROUPS = (3, 1, 8, 5, 2)
N, E, V = sum(GROUPS), 6, 11


def problem(biased=True):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    hidden, weight, bias = draw(N, E).requires_grad_(), draw(V, E).requires_grad_(), draw(V).requires_grad_()
    return hidden, weight, torch.randint(V, (N,), generator=generator), bias if biased else None


def whole(hidden, weight, bias, cap, temperature):
    """The distributions' logarithms [N, V]."""
    scores = hidden @ weight.T + (0 if bias is None else bias)
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    return (scores / temperature).log_softmax(-1)


def margin(group, logs, entropies=None):
    """A loss that is not linear, in which rows of a group meet, and groups differ."""
    half = len(logs) // 2
    value = torch.nn.functional.softplus(logs[:half].sum() - logs[half:].mean() + 0.3 * group)
    return value if entropies is None else value - 0.7 * entropies.square().sum()


@pytest.mark.parametrize("chunk", [1, 4, 11, None])
@pytest.mark.parametrize("cap, temperature, biased", [(None, 1.0, False), (None, 0.7, True), (2.0, 1.3, True)])
@pytest.mark.parametrize("entropies", [False, True])
def test_value_and_gradients_equal_autograd(chunk, cap, temperature, biased, entropies):
    hidden, weight, targets, bias = problem(biased)
    tensors = [tensor for tensor in (hidden, weight, bias) if tensor is not None]
    logs = whole(hidden, weight, bias, cap, temperature)
    told, spread = logs.gather(1, targets[:, None])[:, 0], -(logs.exp() * logs).sum(1)
    seen = zip(told.split(GROUPS), spread.split(GROUPS), strict=True)
    expected = sum(margin(g, *pair[: 1 + entropies]) for g, pair in enumerate(seen))
    total, *measured = through_log_probs(
        hidden, weight, targets, GROUPS, margin, bias, cap, temperature, entropies, chunk
    )
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-12)
    for found, right in zip(measured, (told, spread)[: 1 + entropies], strict=True):
        torch.testing.assert_close(found, right.detach(), rtol=1e-12, atol=1e-12)
        assert not found.requires_grad
    found, right = (torch.autograd.grad(3 * value, tensors) for value in (total, expected))
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)
    alone = log_probs(hidden, weight, targets, bias, cap, temperature, chunk)
    torch.testing.assert_close(alone, told.detach(), rtol=1e-12, atol=1e-12)


def test_a_hand_computed_token():
    """Scores (0, log 3) are probabilities 1/4 and 3/4; of L = -log p_1 the gradient by the scores is (1/4, -1/4)."""
    hidden, weight = torch.ones(1, 1, requires_grad=True), torch.tensor([[1.0], [3.0]]).log().requires_grad_()
    total, logs = through_log_probs(hidden, weight, torch.tensor([1]), (1,), lambda group, logs: -logs.sum())
    total.backward()
    assert total.item() == pytest.approx(0.28768207) and logs.item() == pytest.approx(-0.28768207)
    torch.testing.assert_close(weight.grad, torch.tensor([[0.25], [-0.25]]))


def test_frozen_parts_and_evaluation_need_no_gradient():
    hidden, weight, targets, bias = problem()
    frozen = weight.detach()
    expected = torch.autograd.grad(through_log_probs(hidden, weight, targets, GROUPS, margin, bias)[0], hidden)
    found = torch.autograd.grad(through_log_probs(hidden, frozen, targets, GROUPS, margin, bias)[0], hidden)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        total, _ = through_log_probs(hidden, weight, targets, GROUPS, margin, bias)
    assert not total.requires_grad


def test_a_group_whose_loss_is_flat_moves_nothing():
    """As a pair beyond the margin of a hinge."""
    hidden, weight, targets, bias = problem()
    total, _ = through_log_probs(hidden, weight, targets, GROUPS, lambda g, logs: logs.sum() * (g == 1), bias)
    total.backward()
    moved = hidden.grad.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == [3]


def test_no_tokens_are_no_log_probabilities():
    hidden, weight, targets, bias = problem()
    assert log_probs(hidden[:0], weight, targets[:0], bias).shape == (0,)


def test_groups_that_do_not_cover_the_rows_are_an_error():
    hidden, weight, targets, bias = problem()
    with pytest.raises(ValueError, match="groups of 2 rows in all, for 19 targets"):
        through_log_probs(hidden, weight, targets, (2,), margin, bias)


def test_under_autocast_the_log_probabilities_stay_wide():
    hidden, weight, targets, bias = (x.float().detach() if x.is_floating_point() else x for x in problem())
    hidden.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        total, logs = through_log_probs(hidden, weight, targets, GROUPS, margin, bias)
        alone = log_probs(hidden, weight, targets, bias)
    assert total.dtype == logs.dtype == torch.float32 and torch.equal(logs, alone)
    exact = log_probs(hidden, weight, targets, bias)
    torch.testing.assert_close(logs, exact, rtol=0.02, atol=0.05)
