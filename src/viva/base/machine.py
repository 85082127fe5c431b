"""What this machine can do, measured rather than assumed, once a process and in a fraction of a second each."""

import gc
import os
from functools import cache

from viva.base.errors import Refusal
from viva.base.measure import Verdict, fastest, shortest

SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough to reach the peak, small enough to repeat
READ_BYTES = {"cpu": 2**28, "cuda": 2**32}  # beyond the caches


@cache
def device() -> str:
    """The device that training and generation use by default: `cuda` where torch finds one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def required(name: str | None) -> str:
    """The device called `name`, which must be here, or the default one."""
    if name == "cuda" and device() != "cuda":
        raise Refusal("device cuda must be a GPU that torch finds", "none", "see `viva doctor`, or use device cpu")
    return name or device()


@cache
def matrix_rate(dtype: str, on: str) -> float:
    """The peak of a square matrix product in `dtype` (a torch name such as bfloat16) on device `on`, in GFLOP/s."""
    import torch

    from viva.base.product import product

    side = SIDE[on]
    square = torch.ones(side, side, dtype=getattr(torch, dtype), device=on)
    return 2 * side**3 / shortest(lambda: product(square, square), on) / 1e9


@cache
def read_rate(on: str) -> float:
    """The rate at which device `on` reads memory beyond its caches (a sum in fp32), in GB/s."""
    import torch

    numbers = torch.ones(READ_BYTES[on] // 4, device=on)
    return READ_BYTES[on] / shortest(numbers.sum, on) / 1e9


@cache
def weight_rate(dtype: str, on: str) -> float:
    """How many weights of `dtype` device `on` applies to one vector a second, from beyond its caches, in 1e9/s.

    It bounds how fast a model decodes one text. A dtype without a fast path can be slower in spite of its size.
    """
    import torch

    from viva.base.product import product

    columns = 4096
    matrix = torch.ones(READ_BYTES[on] // (4 * columns), columns, device=on, dtype=getattr(torch, dtype))
    return matrix.numel() / shortest(lambda: product(matrix[:1], matrix), on) / 1e9


@cache
def faster(on: str, among: tuple[str, ...] = ("float32", "bfloat16")) -> Verdict:
    """The dtype of `among` whose matrix product is the fastest on device `on`; the first wins unless beaten by 20 %."""
    rates = {dtype: matrix_rate(dtype, on) for dtype in among}
    return fastest(rates, f"matrix products on this {on} reach", "GFLOP/s")


@cache
def decodes_faster(on: str, among: tuple[str, ...]) -> Verdict:
    """The dtype of `among` in which device `on` decodes the fastest; the first wins unless beaten by 20 %."""
    rates = {dtype: weight_rate(dtype, on) for dtype in among}
    return fastest(rates, f"matrix-vector products on this {on} read", "billion weights/s")


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next allocation of its size, where it is glibc.

    By default it returns every large block to the system and asks for it again, a page fault for each 4 KiB: in a
    training step on the CPU that costs as much as the elementwise operations themselves.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # another C library: only slower
    mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: blocks up to 1 GiB come from the heap
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap's free end stays


def keep_few_kernels(count: int = 128) -> None:
    """Let oneDNN keep so many of the kernels it makes, one for each shape of a product; to be called before torch is
    imported.

    The batches of a server have ever other shapes. Left alone, two caches of 1024 kernels of some hundred KiB each fill
    up for hours, which looks like a leak and saves no time. Whoever has set these variables keeps them.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(count))
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(count))


def leave_loaded_objects() -> None:
    """Let Python's garbage collector go through what is made from now on, and no more through what is there: for a
    process that has loaded all it will use.

    A full collection goes through every object, some 200,000 of them with torch imported: 0.1 s of a core, in which no
    other thread runs, and the more often the more is made and thrown away (https://docs.python.org/3/library/gc.html).
    """
    gc.collect()
    gc.freeze()


def memory() -> int:
    """The physical memory of this machine in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free(on: str) -> int:
    """The memory of device `on` that can be taken now, in bytes: of a CPU what the kernel says is available (Linux), or
    all there is.
    """
    if on == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            told = next(line for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return memory()
    return 1024 * int(told.split()[1])
