"""y = x W^T + b by the library that this machine runs it fastest with.

torch multiplies fp32 matrices by its BLAS, on x86 Intel's MKL, which takes a slow path on other makers' processors. It
also carries oneDNN, which does not. Which of the two is faster here is measured, once a process, when a product is
first large enough for it to matter; a resumed run keeps what it began with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional

from viva.base import measure
from viva.base.errors import Refusal

FEW = 16  # rows up to which reading the weights, not multiplying them, takes the time
LARGE = {True: 2**18, False: 2**21}  # multiplications, of few rows or many, that are worth a call into oneDNN
SIDE = {True: (1, 2**14, 1024), False: (1024, 1024, 1024)}  # rows, outputs, inputs of what is measured
MEASURED_S = 0.1  # for each library
ROWS = 32  # for which weights are laid out
MARGIN = 1.5  # by which BLAS must be beaten


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., in], weight [out, in], bias [out] -> [..., out]; x and weight may be transposed views.

    Values alone: whoever needs gradients calls it inside an autograd.Function.
    """
    if ROWWISE.get() and exact(x):
        return alone(x, weight, bias)
    few = x.numel() <= FEW * weight.shape[1]
    if x.numel() * weight.shape[0] >= LARGE[few] and ours(x):
        return KERNELS[fastest(few).name](x, weight, bias)
    return functional.linear(x, weight, bias)


def ours(x: Tensor) -> bool:
    """Whether there is a choice for `x`: fp32 on a CPU. The rest is left to torch, its compiler and its autocast."""
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """By oneDNN, in fp32 proper; the operator behind torch.compile's linear layers."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


KERNELS = {"BLAS": functional.linear}
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):  # absent from a torch built without oneDNN
    KERNELS["oneDNN"] = onednn


ROWWISE: ContextVar[bool] = ContextVar("rowwise", default=False)


@contextmanager
def rowwise() -> Iterator[None]:
    """In it a row of a product has the same bits whatever rows stand beside it, where `exact` says so."""
    before = ROWWISE.set(True)
    try:
        yield
    finally:
        ROWWISE.reset(before)


def exact(x: Tensor) -> bool:
    """Whether rows of `x` can be multiplied each as if it were alone: fp32 on a CPU, by oneDNN."""
    return ours(x) and "oneDNN" in KERNELS


def alone(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """As `product`, each row on its own: oneDNN's kernel for two rows or more adds up every number of the result in one
    order, however many they are (tests/base/test_rowwise.py). It has another one for one row, which is so read twice,
    but where `pack` saw that for this weight the two agree.
    """
    weight, agreed = laid_out(weight)
    if x.numel() == x.shape[-1] and not agreed:
        rows = x.reshape(1, -1).expand(2, -1).contiguous()
        return onednn(rows, weight, bias)[:1].view(*x.shape[:-1], -1)
    return onednn(x, weight, bias)


def pack(weight: Tensor) -> None:
    """Keep beside `weight` a copy that lies as oneDNN reads it, which `alone` takes, up to twice as fast for few rows.
    It has the same bits, and counts for as long as nothing is written into `weight`.
    """
    if exact(weight):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
        weight.packed = (weight._version, packed, _agreed(packed, weight.shape[1]))


def unpack(weight: Tensor) -> None:
    """Let go of the copy that `pack` made."""
    if hasattr(weight, "packed"):
        del weight.packed


def laid_out(weight: Tensor) -> tuple[Tensor, bool]:
    """The copy that `pack` made of it, if there is one of what it holds now, and whether one row is multiplied by it as
    several are.
    """
    if not hasattr(weight, "packed"):
        return weight, False  # such as one that is made for each product, of which torch counts no versions
    version, packed, agreed = weight.packed
    return (packed, agreed) if version == weight._version else (weight, False)


def _agreed(packed: Tensor, inputs: int) -> bool:
    """Whether each of a few rows has the same bits alone as beside others: so it is with most sizes, seen anew here."""
    rows = torch.randn(4, inputs, generator=torch.Generator().manual_seed(0))
    together = onednn(rows, packed)
    return all(torch.equal(onednn(row[None], packed)[0], told) for row, told in zip(rows, together, strict=True))


CHOSEN: dict[str, measure.Verdict] = {}  # of this process, by "few" and "many"


def fastest(few: bool) -> measure.Verdict:
    """The name of the faster of KERNELS for `few` rows of x, or for many; BLAS unless clearly beaten."""
    rows = "few" if few else "many"
    if rows not in CHOSEN:
        CHOSEN[rows] = _measured(few)
    return CHOSEN[rows]


def choices() -> dict[str, str]:
    """What is chosen for few and for many rows, for a checkpoint to remember."""
    return {"few": fastest(True).name, "many": fastest(False).name}


def adopt(names: dict[str, str]) -> None:
    """Choose as `choices` said before, here or elsewhere: another library rounds differently."""
    for rows, name in names.items():
        if name not in KERNELS:
            fix = "go on with the torch it was made with, or begin a new run"
            raise Refusal(f"a run that multiplies by {name} must go on with it", f"only {', '.join(KERNELS)}", fix)
        CHOSEN[rows] = measure.Verdict(name, "as the checkpoint says")


def _measured(few: bool) -> measure.Verdict:
    rows, outputs, inputs = SIDE[few]
    x, weight = torch.ones(rows, inputs), torch.ones(outputs, inputs)
    times = {
        name: measure.shortest(lambda kernel=kernel: kernel(x, weight), "cpu", MEASURED_S)
        for name, kernel in KERNELS.items()
    }
    rates = {name: 2 * rows * outputs * inputs / seconds / 1e9 for name, seconds in times.items()}
    return measure.fastest(rates, f"fp32 products of {'few' if few else 'many'} rows reach", "GFLOP/s", MARGIN)
