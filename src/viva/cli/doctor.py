"""`viva doctor`: what this machine can do, and why not."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REQUIRED = ("torch", "numpy", "tokenizers", "safetensors", "huggingface_hub", "datasets")
OPTIONAL = {
    "fastapi": 'the server, viva serve; install it with pip install "viva[serve]"',
    "tensorboard": 'curves in TensorBoard; install it with pip install "viva[tensorboard]"',
    "transformers": 'the twin in viva\'s own tests; install it with pip install "viva[dev]"',
}
DTYPES = ("float32", "bfloat16", "float16")
SIDE = 4096  # of the matrix with which threads are measured


def doctor() -> None:
    """Show Python, packages, processor, memory and disk, and measure how fast each number format is.

    Example: viva doctor
    """
    for section in (_software, _hardware, _speed, _optional):
        for name, value in section():
            print(f"{name:16} {value}", flush=True)


def _software() -> Iterator[tuple[str, str]]:
    yield "Python", f"{platform.python_version()} on {platform.platform()}"
    for name in REQUIRED:
        yield name, _version(name) or f"missing: install it with pip install {name}"


def _hardware() -> Iterator[tuple[str, str]]:
    import torch

    from viva.base import machine

    yield "threads", f"{torch.get_num_threads()} used by torch, {os.cpu_count()} in the machine"
    yield "memory", f"{machine.memory() / 2**30:.1f} GiB"
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free here"
    yield "CUDA", _cuda()


def _cuda() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
    if torch.version.cuda is None:
        return "not used: this torch is built for the CPU alone; see pytorch.org for a build with CUDA"
    return f"not used: torch is built for CUDA {torch.version.cuda}, but finds no device or no driver for it"


def _speed() -> Iterator[tuple[str, str]]:
    """The peaks that bound training (matrix products) and decoding (weights read)."""
    import torch

    from viva.base import machine, product, threads

    on = machine.device()
    if on == "cpu":
        name, why = product.fastest(few=False)
        yield "products", f"by {name}: {why}"
    yield "reading", f"memory at {machine.read_rate(on):.0f} GB/s, on {on}"
    yield "decoding", threads.told(threads.choose([torch.ones(SIDE, SIDE)]))
    for dtype in DTYPES:
        matrix, vector = machine.matrix_rate(dtype, on), machine.weight_rate(dtype, on)
        yield dtype, f"matrix products {matrix:.0f} GFLOP/s, decoding {vector:.2f} billion weights/s, on {on}"


def _optional() -> Iterator[tuple[str, str]]:
    for name, what in OPTIONAL.items():
        yield name, _version(name) or f"not installed (optional): {what}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
