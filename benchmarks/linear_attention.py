"""Linear attention beside softmax attention: what a decoded token costs behind a long context, and a step of training.

    python benchmarks/linear_attention.py [--turns 5]

Decoding: a model of 2 layers x 256 reads one token behind 1k to 64k others. What is cached of these is drawn at random,
since no time here depends on what they say. Training: one attention layer of 4 heads x
64, forward and backward, on a text of 512 to 16k tokens. Both kinds in one process, in turns, fp32, medians. Draws
docs/linear_attention.png.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from viva.model.attention import Attention
from viva.model.cache import Contiguous
from viva.model.ffn import mlp
from viva.model.flow import Flow
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.norm import layernorm
from viva.model.score import dot, linear
from viva.model.spec import Attention as AttentionSpec
from viva.model.spec import Block, Spec, Stack
from viva.model.transformer import Transformer

WIDTH, HEADS, LAYERS = 256, 4, 2
CONTEXTS = [1024 * 2**i for i in range(7)]
LENGTHS = [512 * 2**i for i in range(6)]
SCORES = {"softmax": dot.Config(), "linear": linear.Config()}
STEPS = 8  # tokens of one turn
PLOT = Path(__file__).parent.parent / "docs" / "linear_attention.png"

Turn = Callable[[], None]


def attention(name: str) -> AttentionSpec:
    return AttentionSpec(heads=HEADS, kv_heads=HEADS, head_dim=WIDTH // HEADS, score=SCORES[name])


def decoding(name: str, context: int) -> Turn:
    """Some tokens, one after another, behind `context` tokens."""
    block = Block(attention=attention(name), ffn=mlp.Config(hidden=4 * WIDTH), norm=layernorm.Config())
    spec = Spec(vocab=64, width=WIDTH, context=2 * CONTEXTS[-1], decoder=Stack(layers=LAYERS, blocks=(block,)))
    model, cache = initialise(Transformer(spec)).eval(), Contiguous(spec, 1, context + STEPS, torch.float32)
    for buffer in (*cache.keys, *cache.values):
        buffer.uniform_()  # positive, as sums of phi(k) are
    token = torch.ones(1, 1, dtype=torch.long)

    @torch.inference_mode()
    def turn() -> None:
        cache.held = context
        for _ in range(STEPS):
            model.logits(model.hidden(token, cache=cache))

    return turn


def training(name: str, length: int) -> Turn:
    """A forward and a backward pass of one layer."""
    torch.manual_seed(0)
    layer, flow = Attention(attention(name), WIDTH, length), Flow(Layout.one_document(length), (None,))
    x = torch.randn(1, length, WIDTH, requires_grad=True)

    def turn() -> None:
        layer(x, flow, 0).square().mean().backward()

    return turn


def alternating(make: Callable[[str, int], Turn], sizes: list[int], turns: int) -> dict[int, dict[str, float]]:
    """The median seconds of a turn at each size of each kind; a slow moment of the machine meets all of them.

    Each turn is taken twice and timed the second time: as a stream of tokens would, it finds its weights in the caches
    and not what the other kind read.
    """
    contestants = {(size, name): make(name, size) for size in sizes for name in SCORES}
    seconds = {key: [] for key in contestants}
    for _ in range(turns):
        for key, turn in contestants.items():
            turn()
            start = time.perf_counter()
            turn()
            seconds[key].append(time.perf_counter() - start)
    return {size: {name: median(seconds[size, name]) for name in SCORES} for size in sizes}


def table(title: str, unit: str, found: dict[int, dict[str, float]]) -> None:
    """Milliseconds of each kind, and how they grow from the first size on."""
    print(f"\n{title}\n{'tokens':>8}{'softmax':>12}{'linear':>12}{'softmax / linear':>18}{'growth of each':>18}")
    first = next(iter(found.values()))
    for size, now in found.items():
        growth = f"{now['softmax'] / first['softmax']:.1f}x, {now['linear'] / first['linear']:.1f}x"
        ratio = now["softmax"] / now["linear"]
        print(f"{size:>8}{now['softmax'] * 1e3:>9.2f} ms{now['linear'] * 1e3:>9.2f} ms{ratio:>18.2f}{growth:>18}")
    print(f"milliseconds {unit}")


def plot(panels: dict[str, dict[int, dict[str, float]]]) -> None:
    """One panel a measurement, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(10, 4), layout="constrained")
    for axis, (title, found) in zip(axes, panels.items(), strict=True):
        for name, marker in zip(SCORES, "os", strict=True):
            axis.loglog(list(found), [now[name] * 1e3 for now in found.values()], marker=marker, label=name, base=2)
        axis.set(title=title, xlabel="tokens", ylabel="milliseconds", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(PLOT, dpi=120)
    print(f"\n{PLOT.relative_to(PLOT.parent.parent)}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--turns", type=int, default=5)
    turns = options.parse_args().turns
    print(f"fp32, {torch.get_num_threads()} threads, {turns} turns")
    token = alternating(decoding, CONTEXTS, turns)
    token = {size: {name: seconds / STEPS for name, seconds in found.items()} for size, found in token.items()}
    table("Decoding a token behind so many", "a token", token)
    step = alternating(training, LENGTHS, turns)
    table("Forward and backward of one layer", "a pass", step)
    plot({"One decoded token, 2 layers": token, "Forward and backward, one layer": step})


if __name__ == "__main__":
    main()
