"""Divergences and the two losses of a student against trl, torch and gradients derived by hand."""

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from viva.train.loss.divergence import divergence
from viva.train.loss.imitation import Blend, Scored, imitation, linear_imitation

V = 11


def scores(seed, N=6, dtype=torch.float64):
    """Far apart, so that the three divergences differ."""
    return 3 * torch.randn(N, V, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_equals_trl(beta, temperature):
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    z, u = scores(1).requires_grad_(), scores(2)
    theirs = GKDTrainer.generalized_jsd_loss(z[None], u[None], beta=beta, temperature=temperature, reduction="sum")
    mine = divergence(z, u, beta, temperature).sum()
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-9)
    found, expected = (torch.autograd.grad(loss, z)[0] for loss in (mine, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_gradient_is_that_of_the_docstring(beta):
    z, u, t = scores(1).requires_grad_(), scores(2), 2.0
    [found] = torch.autograd.grad(divergence(z, u, beta, t).sum(), z)
    q, p = softmax(z.detach() / t, -1), softmax(u / t, -1)
    m = beta * p + (1 - beta) * q
    g = -p / q if beta == 0 else (q / p).log() if beta == 1 else (1 - beta) * (q / m).log()
    torch.testing.assert_close(found, q * (g - (q * g).sum(-1, keepdim=True)) / t)
    if beta == 0:
        torch.testing.assert_close(found, (q - p) / t)


def test_forward_divergence_is_torch_s_kl_div():
    z, u = scores(1), scores(2)
    expected = kl_div(log_softmax(z, -1), log_softmax(u, -1), reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(divergence(z, u), expected)


def test_high_temperatures_match_scores():
    """Hinton et al. 2015, eq. 4: with scores of mean zero the gradient of t^2 D tends to (z - u) / V as t grows."""
    z, u = (x - x.mean(-1, keepdim=True) for x in (scores(1), scores(2)))
    z.requires_grad_()
    total, _ = imitation(z, u, torch.zeros(6, dtype=torch.long), Blend(0.0, 1.0, temperature=1e4))
    torch.testing.assert_close(torch.autograd.grad(total, z)[0], (z.detach() - u) / V, rtol=1e-2, atol=1e-3)


def heads(biased, cap, dtype=torch.float64):
    random = torch.Generator().manual_seed(0)
    make = lambda *size: torch.randn(*size, generator=random, dtype=dtype)  # noqa: E731
    student = Scored(make(50, 4), make(V, 4), make(V) if biased else None, cap)
    teacher = Scored(make(50, 7), make(V, 7), make(V) if biased else None, None if cap is None else 2 * cap)
    [x.requires_grad_() for x in student[:3] if x is not None]
    return student, teacher, torch.randint(V, (50,), generator=random)


def whole(scored):
    z = scored.states @ scored.weight.T + (0 if scored.bias is None else scored.bias)
    return z if scored.cap is None else scored.cap * torch.tanh(z / scored.cap)


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("biased", "cap"), [(False, None), (True, 1.5)])
def test_through_heads_equals_torch_on_whole_scores(chunk, beta, biased, cap):
    student, teacher, targets = heads(biased, cap)
    how = Blend(0.3, 0.7, beta, 2.0)
    z, u = whole(student), whole(teacher)
    p, q = log_softmax(u / 2, -1), log_softmax(z / 2, -1)
    m = (beta * p.exp() + (1 - beta) * q.exp()).log()
    d = {0.0: kl_div(q, p, reduction="sum", log_target=True), 1.0: kl_div(p, q, reduction="sum", log_target=True)}.get(
        beta,
        beta * kl_div(m, p, reduction="sum", log_target=True)
        + (1 - beta) * kl_div(m, q, reduction="sum", log_target=True),
    )
    hard = cross_entropy(z, targets, reduction="sum")
    total, parts = linear_imitation(student, teacher, targets, how, chunk)
    torch.testing.assert_close(total, 0.3 * hard + 0.7 * 4 * d, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(parts, torch.stack((hard, 4 * d)).detach(), rtol=1e-6, atol=1e-9)
    tensors = [x for x in student[:3] if x is not None]
    expected = torch.autograd.grad(0.3 * hard + 0.7 * 4 * d, tensors)
    for found, right in zip(torch.autograd.grad(3 * total, tensors), expected, strict=True):
        torch.testing.assert_close(found, 3 * right, rtol=1e-6, atol=1e-9)


def test_scores_of_all_tokens_are_never_held():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            self.elements = max([self.elements, *(x.numel() for x in [out] if isinstance(x, torch.Tensor))])
            return out

    student, teacher, targets = heads(False, None)
    with Watch() as watch:
        linear_imitation(student, teacher, targets, Blend(0.5, 0.5), 16)[0].backward()
    assert watch.elements == 50 * 4  # the states and their gradient; of scores there are 16 rows
    with Watch() as watch:
        (whole(student) - whole(teacher)).sum().backward()
    assert watch.elements == 50 * V  # the watch can see it
