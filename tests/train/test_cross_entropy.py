"""The chunked loss against torch's own cross-entropy of the whole logits, and its memory against theirs."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from viva.train.loss import IGNORE
from viva.train.loss.cross_entropy import linear_cross_entropy


def problem(N=50, E=16, V=37, dtype=torch.float32, ignored=0.3):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(N, E, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, E, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.randint(V, (N,), generator=generator)
    targets[torch.rand(N, generator=generator) < ignored] = IGNORE
    return hidden, weight, targets


def whole(hidden, weight, targets, smoothing, bias=0.0, cap=None):
    scores = hidden @ weight.t() + bias
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    return torch.nn.functional.cross_entropy(scores, targets, reduction="sum", label_smoothing=smoothing)


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torch(chunk, smoothing):
    hidden, weight, targets = problem()
    expected = whole(hidden, weight, targets, smoothing)
    expected_gradients = torch.autograd.grad(3 * expected, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, targets, smoothing, chunk)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    gradients = torch.autograd.grad(3 * loss, (hidden, weight))
    for found, right in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_gradcheck(smoothing):
    hidden, weight, targets = problem(N=6, E=3, V=5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h, w: linear_cross_entropy(h, w, targets, smoothing, 4), (hidden, weight))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("biased", [False, True])
def test_a_bias_and_a_cap_equal_torch(biased, cap, smoothing):
    """Scores reach far beyond a cap of 3, so that its slope matters."""
    hidden, weight, targets = problem()
    bias = torch.linspace(-1, 1, 37).requires_grad_() if biased else None
    tensors = (hidden, weight, bias) if biased else (hidden, weight)
    expected = whole(hidden, weight, targets, smoothing, bias if biased else 0.0, cap)
    loss = linear_cross_entropy(hidden, weight, targets, smoothing, 7, bias, cap)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    gradients = torch.autograd.grad(3 * loss, tensors)
    for found, right in zip(gradients, torch.autograd.grad(3 * expected, tensors), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


def test_gradcheck_with_a_bias_and_a_cap():
    hidden, weight, targets = problem(N=6, E=3, V=5, dtype=torch.float64)
    bias = torch.linspace(-1, 1, 5, dtype=torch.float64).requires_grad_()
    loss = lambda h, w, b: linear_cross_entropy(h, w, targets, 0.1, 4, b, 1.5)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (hidden, weight, bias))


def test_a_certain_and_a_hopeless_token():
    """Logits (200, 0): the loss is log(1 + e^-200) = 0 for the first class and 200 for the second."""
    hidden, weight = torch.tensor([[1.0], [1.0]]), torch.tensor([[200.0], [0.0]])
    assert linear_cross_entropy(hidden[:1], weight, torch.tensor([0])).item() == 0
    assert linear_cross_entropy(hidden[:1], weight, torch.tensor([1])).item() == 200


def test_nothing_learned_is_zero():
    hidden, weight, targets = problem(ignored=1.1)
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert loss.item() == 0 and hidden.grad.abs().sum() == 0 and weight.grad.abs().sum() == 0


def test_ignored_rows_do_not_reach_the_loss():
    hidden, weight, targets = problem()
    with torch.no_grad():
        hidden[targets == IGNORE] = float("nan")
    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert loss.isfinite() and weight.grad.isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_under_autocast(dtype, tolerance):
    """Products are rounded to the autocast dtype (8 or 11 bits); sum and gradients come back in fp32."""
    hidden, weight, targets = problem(N=200)
    expected = whole(hidden, weight, targets, 0.0)
    expected_gradients = torch.autograd.grad(expected, (hidden, weight))
    with torch.autocast("cpu", dtype):
        loss = linear_cross_entropy(hidden, weight, targets, chunk=64)
    assert loss.dtype == torch.float32
    assert abs(loss - expected) / expected < tolerance
    for found, right in zip(torch.autograd.grad(loss, (hidden, weight)), expected_gradients, strict=True):
        assert found.dtype == torch.float32
        assert tolerance / 100 < (found - right).norm() / right.norm() < tolerance  # rounded indeed, and no more


def test_fp16_gradients_do_not_overflow():
    """40000 equal tokens, W = 0, h = 4: dl/dW = 4 * 40000 * (1/2 - 1) = -80000, above fp16's 65504."""
    hidden = torch.full((40000, 1), 4.0, requires_grad=True)
    weight = torch.zeros(2, 1, requires_grad=True)
    with torch.autocast("cpu", torch.float16):
        linear_cross_entropy(hidden, weight, torch.zeros(40000, dtype=torch.long), chunk=40000).backward()
    assert weight.grad.squeeze().tolist() == [-80000.0, 80000.0]


class Watch(TorchDispatchMode):
    """Remembers the elements of the largest tensor that any operation returned, and counts matrix products."""

    elements = products = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.products += "mm" in function.name()
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            self.elements = max(self.elements, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return out


def largest(loss_of, **sizes):
    hidden, weight, targets = problem(**sizes)
    with Watch() as watch:
        loss_of(hidden, weight, targets).backward()
    return watch.elements


def test_memory_does_not_grow_with_tokens_times_vocabulary():
    chunked = lambda h, w, t: linear_cross_entropy(h, w, t, chunk=8)  # noqa: E731
    assert largest(chunked, N=1000, E=2, V=500) == 8 * 500
    assert largest(lambda h, w, t: whole(h, w, t, 0.0), N=1000, E=2, V=500) == 1000 * 500  # the watch can see it


def products(hidden, weight, targets):
    with Watch() as watch:
        linear_cross_entropy(hidden, weight, targets, chunk=1000)
    return watch.products


def test_only_gradients_that_are_asked_for_are_computed():
    """One product for the logits, one more for the gradient of each of hidden and weight."""
    hidden, weight, targets = problem()
    assert products(hidden, weight, targets) == 3
    assert products(hidden, weight.detach(), targets) == 2
    with torch.no_grad():
        assert products(hidden, weight, targets) == 1
