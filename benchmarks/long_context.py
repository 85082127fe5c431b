"""Texts longer than those a model was trained on: small language models with each scheme of positions, trained at 256
tokens and read at up to 2048, rotary ones under each scaling.

    python benchmarks/long_context.py --data DIR/gutenberg --out runs/long [--steps 600]

Prints the perplexity of the first 256, 512, 1024 and 2048 tokens of held-out text, and draws that by place into
docs/long_context.png. A scaling has the factor by which the text is longer than 256.
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

import viva
from viva.api import LanguageModel
from viva.model.arch import custom
from viva.model.ffn import glu
from viva.model.norm import rmsnorm
from viva.model.position import alibi, learned, none, rope, sinusoidal
from viva.model.position.scaling import default, dynamic, linear, yarn
from viva.model.spec import Attention, Block, Entry, Stack
from viva.model.transformer import Transformer
from viva.text.rows.corpus import files
from viva.text.rows.split import split

TRAINED, LENGTHS, PIECE, BUCKET = 256, (256, 512, 1024, 2048), 16_000, 64
WIDTH, LAYERS, HEADS = 256, 4, 4
SCHEMES = {
    "rope": (none.Config(), rope.Config()),
    "alibi": (none.Config(), alibi.Config()),
    "sinusoidal": (sinusoidal.Config(), none.Config()),
    "learned": (learned.Config(), none.Config()),
}
PLOT = Path(__file__).parents[1] / "docs" / "long_context.png"


def sizes(entry, inside) -> custom.Config:
    """A small decoder; a table of learned positions has room for the longest text, though only its first rows learn."""
    head = WIDTH // HEADS
    attention = Attention(heads=HEADS, kv_heads=HEADS, head_dim=head, position=inside)
    block = Block(attention=attention, ffn=glu.Config(hidden=704), norm=rmsnorm.Config())
    stack = Stack(layers=LAYERS, blocks=(block,), entry=Entry(position=entry))
    return custom.Config(width=WIDTH, context=max(LENGTHS), decoder=stack)


def trained(name: str, given: argparse.Namespace) -> LanguageModel:
    """A run of its own, all from one recipe; a finished one is read again."""
    run = {
        "out": str(given.out / name),
        "model": sizes(*SCHEMES[name]),
        "tokenizer": {"vocab_size": 2048},
        "data": {"kind": "files", "path": str(given.data), "piece": PIECE},
        "valid": 0.05,
        "train": {"steps": given.steps, "batch": 16, "context": TRAINED, "lr": 0.003, "optim": "muon"},
    }
    schedule = {"train.schedule": {"kind": "wsd", "warmup": 20, "decay": 0.4}, "train.precision": "fp32"}
    return viva.load(viva.train(run, schedule).folder)


def held_out(model: LanguageModel, given: argparse.Namespace) -> torch.Tensor:
    """The first tokens of each held-out piece that is long enough, [N, longest + 1]."""
    corpus, most = files.Config(path=str(given.data), piece=PIECE), max(LENGTHS) + 1
    texts = [model.ids(row.data["text"]) for row in split(corpus.rows(), "valid", 0.05)]
    return torch.tensor([ids[:most] for ids in texts if len(ids) >= most])


@torch.inference_mode()
def losses(model: Transformer, ids: torch.Tensor) -> torch.Tensor:
    """The loss at each place, averaged over texts: [T]."""
    found = [torch.nn.functional.cross_entropy(model(row[None, :-1])[0], row[1:], reduction="none") for row in ids]
    return torch.stack(found).mean(0)


def scalings(factor: float) -> dict:
    """By their usual names; each stretches what was trained by `factor`."""
    return {
        "rope, no scaling": default.Config(),
        "rope, linear": linear.Config(factor=factor),
        "rope, NTK": dynamic.Config(factor=1.0, trained=TRAINED),
        "rope, YaRN": yarn.Config(factor=factor, trained=TRAINED),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args()
    models = {name: trained(name, given) for name in SCHEMES}
    texts = held_out(models["rope"], given)
    print(f"{len(texts)} held-out texts; trained {given.steps} steps each at {TRAINED} tokens")
    print(f"{'perplexity of the first':24}" + "".join(f"{n:>9}" for n in LENGTHS) + f"{'the last 256':>14}")
    curves: dict[str, torch.Tensor] = {}
    for name in (*scalings(1), "alibi", "sinusoidal", "learned"):
        row = []
        for length in LENGTHS:
            model = models[name.split(",")[0]]
            if "," in name:
                model = model.rescaled(scalings(length / TRAINED)[name])
            curves[name] = losses(model.model, texts[:, : length + 1])
            row.append(float(curves[name].mean().exp()))
        last = float(curves[name][-256:].mean().exp())
        print(f"{name:24}" + "".join(f"{value:9.1f}" for value in row) + f"{last:14.1f}", flush=True)
    draw(curves)


def draw(curves: dict[str, torch.Tensor]) -> None:
    """Perplexity by place in texts of the greatest length, in steps of BUCKET tokens."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        steps = curve.view(-1, BUCKET).mean(1).exp()
        axes.plot(torch.arange(len(steps)) * BUCKET + BUCKET / 2, steps, label=name)
    axes.axvline(TRAINED, color="grey", linewidth=0.8)
    axes.set(xlabel="place in the text (tokens)", ylabel="perplexity", yscale="log")
    axes.legend()
    figure.savefig(PLOT, dpi=120)
    print(f"drawn: {PLOT}")


if __name__ == "__main__":
    main()
