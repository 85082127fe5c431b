"""What has a form of its own on a GPU, beside torch's: the formulas here, the kernels where there is a GPU."""

import pytest
import torch
from torch.nn import functional

from viva.model import activation
from viva.model.arch import qwen3
from viva.model.init import initialise
from viva.model.linear.nf4 import LinearNF4
from viva.model.norm.rmsnorm import rms_norm
from viva.train.batch import Batch
from viva.train.loss.cross_entropy import linear_cross_entropy
from viva.train.objective.causal import Config as Causal

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def drawn(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_gradients_of_a_gate_by_whole_tensors(dtype):
    """In fp16 too where dl/dy u, or silu(g), is beyond its range: there g = -20, u = 300, dl/dy = 400."""
    gate, up, grad = (drawn(5, 7, seed=seed) for seed in range(3))
    gate[0, 0], up[0, 0], grad[0, 0] = -20.0, 300.0, 400.0
    rounded = [x.to(dtype) for x in (grad, gate, up)]
    leaves = [x.double().requires_grad_() for x in rounded[1:]]
    expected = torch.autograd.grad(functional.silu(leaves[0]) * leaves[1], leaves, rounded[0].double())
    for found, right in zip(activation._by_both(*rounded), expected, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found, right.to(dtype), rtol=3 * torch.finfo(dtype).eps, atol=1e-7)


@gpu
@pytest.mark.parametrize("name", ["gate", "norm", "loss", "nf4"])
def test_a_gpu_computes_what_a_cpu_does(name):
    """Values and gradients in fp32, to 1e-4, or 1e-5 of the largest."""
    weight, states = drawn(3000, 64, seed=1), drawn(700, 64)
    targets = torch.randint(3000, (700,), generator=torch.Generator().manual_seed(2))
    half = torch.nn.Linear(64, 3000, bias=False)
    with torch.no_grad():
        half.weight.copy_(weight)
    small = LinearNF4(half)
    ways = {
        "gate": lambda a, b: activation.gated("silu", a, b[:700]),
        "norm": lambda a, b: rms_norm(a, b[0], 1e-6),
        "loss": lambda a, b: linear_cross_entropy(a, b, targets.to(a.device)) / 700,
        "nf4": lambda a, b: small.to(a.device)(a) + b.sum(),
    }

    def run(device: str) -> list[torch.Tensor]:
        leaves = [x.to(device, torch.float32).requires_grad_() for x in (states, weight)]
        out = ways[name](*leaves)
        out.square().sum().backward()
        return [x.detach().cpu() for x in (out, *(leaf.grad for leaf in leaves))]

    for here, there in zip(run("cpu"), run("cuda"), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5 * float(here.abs().max()))


@gpu
@pytest.mark.parametrize("adapter", [None, "nf4", "plain"])
def test_a_model_learns_on_a_gpu_as_on_a_cpu(adapter):
    """The loss of packed documents and its gradients, in fp32 and, some percent apart, in bf16."""
    from viva.model import adapt
    from viva.model.adapt import lora

    torch.manual_seed(0)
    shape = qwen3.Config(vocab=300, width=64, layers=2, heads=4, kv_heads=2, head_dim=16, hidden=128, context=64)
    ids = torch.randint(300, (2, 41), generator=torch.Generator().manual_seed(3))
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), ((11, 29), (40,)))

    def run(device: str, dtype: torch.dtype | None = None) -> tuple[float, torch.Tensor]:
        model = initialise(shape.spec().build())
        if adapter:
            quantize = "nf4" if adapter == "nf4" else None
            targets = ("attention.q", "attention.k", "attention.out", "ffn.up", "ffn.down")
            adapt.attach(model, lora.Config(targets=targets, quantize=quantize))
            for change in adapt.changes(model):
                for i, parameter in enumerate(change.parameters()):
                    parameter.data = drawn(*parameter.shape, seed=i, dtype=torch.float32) * 0.05
        model = model.to(device)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            loss = Causal().build()(model, batch.to(device))
        (loss.sum / loss.count).backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return float(loss.sum / loss.count), torch.cat(grads).cpu()

    (exact, by_cpu), (found, by_gpu), (rough, by_half) = run("cpu"), run("cuda"), run("cuda", torch.bfloat16)
    assert abs(found - exact) < 1e-4 and abs(rough - exact) < 0.02
    assert functional.cosine_similarity(by_gpu, by_cpu, dim=0) > 0.99999
    assert functional.cosine_similarity(by_half, by_cpu, dim=0) > 0.99
